//! Copies tensors that outlive recordings to the host and back.

use crate::tensor::DType;
use crate::{Array, Device, Error, Recorder, Result, Tensor};

impl Device {
    /// Reads back a tensor that outlives recordings, after all the work that was submitted before. The copy
    /// is submitted when this returns; the future waits for the numbers and may be dropped.
    ///
    /// # Errors
    /// [`Error::OtherDevice`] for a tensor of another device, [`Error::Shape`] for one that was not made an
    /// output, and the device's.
    pub fn download(&self, tensor: &Tensor) -> impl Future<Output = Result<Array>> + use<> {
        let reading = Recorder::new(self).finish().map(|nothing| nothing.run().finish(&[tensor]));
        async move {
            let mut arrays = reading?.await?;
            arrays.pop().ok_or_else(|| Error::Device("nothing was read back".to_owned()))
        }
    }

    /// As [`uninit`](Self::uninit), filled with `values`: the inverse of [`download`](Self::download).
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of `values` does not fit `shape`; [`Error::TooLarge`] beyond the
    /// adapter's limits.
    pub fn upload_recycled(&self, shape: &[usize], values: &[f32]) -> Result<Tensor> {
        if DType::F32.bytes_of("upload", shape)? != size_of_val(values) as u64 {
            let reason = format!("{} values for shape {shape:?}", values.len());
            return Err(Error::Shape { op: "upload", reason });
        }
        let tensor = self.uninit(shape)?;
        if let Some(buffer) = tensor.storage().buffer.get() {
            self.write_buffer(buffer.get(), bytemuck::cast_slice(values))?;
        }
        Ok(tensor)
    }
}
