//! The dtype of activations that pass between two ops.

use super::shape_error;
use crate::tensor::DType;
use crate::{Precision, Recorder, Result};

impl Recorder {
    /// The dtype of an activation that passes between exactly two ops. It is f16 only if both support that
    /// (`ends`), the precision is [`Precision::F16`] and the workgroup kernels run. [`Precision::Auto`]
    /// changes no number; the subgroup kernels serve software adapters, where f16 would save no time, and
    /// their textures hold f32.
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
