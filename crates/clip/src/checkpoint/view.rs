//! One tensor of a checkpoint.

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use super::shard::Shard;
use crate::error::{Error, Result};

/// A tensor in a file, row-major and little endian; its values are read when they are asked for.
#[derive(Debug, Clone)]
pub struct TensorView<'a> {
    shard: &'a Shard,
    name: String,
    info: &'a TensorInfo,
}

impl<'a> TensorView<'a> {
    pub(super) fn new(shard: &'a Shard, name: &str, info: &'a TensorInfo) -> Self {
        Self { shard, name: name.to_owned(), info }
    }

    /// Full name of the tensor.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type that the values are stored in.
    pub fn dtype(&self) -> Dtype {
        self.info.dtype
    }

    /// Sizes, outermost first; empty for a scalar.
    pub fn shape(&self) -> &'a [usize] {
        &self.info.shape
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as stored, little endian.
    ///
    /// # Errors
    /// Where the file cannot be read any more.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let (start, end) = self.info.data_offsets;
        let mut bytes = vec![0; end - start];
        self.shard.read(start, &mut bytes)?;
        Ok(bytes)
    }

    /// The values as f32, converted where they are stored as f16 or bf16.
    ///
    /// # Errors
    /// Naming the tensor where it is of another type; where the file cannot be read any more.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        match self.dtype() {
            Dtype::F32 => {
                let mut values = vec![0.0_f32; self.len()];
                self.shard.read(self.info.data_offsets.0, bytemuck::cast_slice_mut(&mut values))?;
                if cfg!(target_endian = "big") {
                    values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
                }
                Ok(values)
            }
            Dtype::F16 => self.converted(|bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => self.converted(|bytes| bf16::from_le_bytes(bytes).to_f32()),
            _ => Err(self.wrong_type()),
        }
    }

    fn converted(&self, convert: impl Fn([u8; 2]) -> f32) -> Result<Vec<f32>> {
        Ok(self.bytes()?.as_chunks::<2>().0.iter().map(|&value| convert(value)).collect())
    }

    /// Checks shape and type against what weights must have.
    pub(super) fn expect(&self, shape: &[usize]) -> Result<()> {
        if self.shape() != shape {
            return Err(Error::TensorShape {
                path: self.shard.path().to_owned(),
                name: self.name.clone(),
                expected: shape.to_vec(),
                found: self.shape().to_vec(),
            });
        }
        match self.dtype() {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(()),
            _ => Err(self.wrong_type()),
        }
    }

    fn wrong_type(&self) -> Error {
        Error::TensorType { path: self.shard.path().to_owned(), name: self.name.clone(), found: self.dtype() }
    }
}
