use clipseg_shaders::kernels;

use crate::tensor::DType;
use crate::{Recorder, Result, Tensor};

impl Recorder {
    /// `exp(input) / Σ exp(input)` over the last dimension.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) beyond the adapter's limits.
    pub fn softmax(&mut self, input: &Tensor) -> Result<Tensor> {
        let output = self.allocate(input.shape(), DType::F32)?;
        let params = kernels::softmax::Params { rows: input.rows() as u32, columns: input.columns() as u32 };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        // The largest, difference, exponential, sum, quotient.
        let flops = 5 * input.len() as u64;
        self.dispatch_rows(&kernels::softmax::KERNEL, params, resources, input.rows(), flops)?;
        Ok(output)
    }
}
