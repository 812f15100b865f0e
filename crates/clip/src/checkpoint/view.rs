//! One tensor of a checkpoint, borrowed from the mapped file.

use std::borrow::Cow;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::error::{Error, Result};

/// A tensor as it lies in the file: row-major, little endian.
#[derive(Debug, Clone)]
pub struct TensorView<'a> {
    path: &'a Path,
    name: String,
    dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    pub(super) fn new(path: &'a Path, name: &str, info: &'a TensorInfo, bytes: &'a [u8]) -> Self {
        Self { path, name: name.to_owned(), dtype: info.dtype, shape: &info.shape, bytes }
    }

    /// Full name of the tensor.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type that the values are stored in.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Sizes, outermost first; empty for a scalar.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as stored, little endian.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The values as f32: borrowed where the file holds them so, converted from f16 or bf16 otherwise.
    ///
    /// # Errors
    /// Naming the tensor where it is of another type.
    pub fn to_f32(&self) -> Result<Cow<'a, [f32]>> {
        match self.dtype {
            Dtype::F32 => match bytemuck::try_cast_slice(self.bytes) {
                Ok(values) if cfg!(target_endian = "little") => Ok(Cow::Borrowed(values)),
                // A header of odd length leaves the values unaligned.
                _ => Ok(self.converted(f32::from_le_bytes)),
            },
            Dtype::F16 => Ok(self.converted(|bytes| f16::from_le_bytes(bytes).to_f32())),
            Dtype::BF16 => Ok(self.converted(|bytes| bf16::from_le_bytes(bytes).to_f32())),
            _ => Err(self.wrong_type()),
        }
    }

    fn converted<const N: usize>(&self, convert: impl Fn([u8; N]) -> f32) -> Cow<'a, [f32]> {
        let (values, _) = self.bytes.as_chunks::<N>();
        Cow::Owned(values.iter().map(|&value| convert(value)).collect())
    }

    /// Checks shape and type against what weights must have.
    pub(super) fn expect(&self, shape: &[usize]) -> Result<()> {
        if self.shape != shape {
            return Err(Error::TensorShape {
                path: self.path.to_owned(),
                name: self.name.clone(),
                expected: shape.to_vec(),
                found: self.shape.to_vec(),
            });
        }
        match self.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(()),
            _ => Err(self.wrong_type()),
        }
    }

    fn wrong_type(&self) -> Error {
        Error::TensorType { path: self.path.to_owned(), name: self.name.clone(), found: self.dtype }
    }
}
