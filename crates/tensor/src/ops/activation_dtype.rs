//! Which activations lie in f16.

use super::shape_error;
use crate::tensor::DType;
use crate::{Precision, Recorder, Result};

impl Recorder {
    /// How an activation is to lie that one op writes and another reads and nobody else sees, where `ends` says whether each of the
    /// two can have it in f16. It does with [`Precision::F16`] and the workgroup kernels: with the others,
    /// [`Precision::Auto`], numbers stay as they are, and the subgroup kernels serve software adapters, whose time goes into
    /// instructions and not into memory, and whose textures are of floats.
    pub(crate) fn dtype_between(&self, ends: [bool; 2]) -> DType {
        let device = self.device();
        let wanted = device.precision() == Precision::F16 && device.lanes().is_none();
        if wanted && ends == [true; 2] { DType::F16 } else { DType::F32 }
    }
}

/// Fails with `op`'s name where its output is to be of integers.
pub(super) fn expect_floats(op: &'static str, dtype: DType) -> Result<()> {
    match dtype {
        DType::F32 | DType::F16 => Ok(()),
        DType::U32 => shape_error(op, "the output is of floats, in full or in f16".to_owned()),
    }
}
