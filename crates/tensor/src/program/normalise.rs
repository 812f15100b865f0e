//! Layer norm, in vectors.

use clipseg_shaders::kernels::layer_norm;
use rten_simd::SimdOp;
use rten_vecmath::{Normalize, NormalizeOptions, Sum, SumSquareSub};

use super::rows;
use crate::Result;
use crate::twin::Call;

/// The twin of `layer_norm`.
pub(super) fn layer_norm(call: Call<'_>) -> Result<()> {
    let params: layer_norm::Params = call.params()?;
    let columns = params.columns as usize;
    let input = call.floats_of(0, call.output.len())?;
    let (weight, bias) = (call.floats_of(1, columns)?, call.floats_of(2, columns)?);
    rows::for_each(call.output, columns, |row, output| {
        let input = &input[row * columns..][..columns];
        let mean = Sum::new(input).dispatch() / columns as f32;
        let variance = SumSquareSub::new(input, mean).dispatch() / columns as f32;
        output.copy_from_slice(input);
        let options = NormalizeOptions {
            pre_scale_bias: mean,
            scale: (variance + params.epsilon).sqrt().recip(),
            element_scale: Some(weight),
            element_bias: Some(bias),
            ..NormalizeOptions::default()
        };
        Normalize::new_mut(output, options).dispatch();
    });
    Ok(())
}
