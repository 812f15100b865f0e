//! FiLM, activations and sigmoid.

use clipseg_shaders::kernels::film;
use rten_vecmath::Sigmoid;

use super::matmul::{activate, apply};
use super::rows;
use crate::Result;
use crate::twin::Call;

/// The twin of `activation`.
pub(super) fn activation(call: Call<'_>) -> Result<()> {
    call.output.copy_from_slice(call.floats_of(0, call.output.len())?);
    activate(call.activation(), call.output);
    Ok(())
}

/// The twin of `sigmoid`.
pub(super) fn sigmoid(call: Call<'_>) -> Result<()> {
    call.output.copy_from_slice(call.floats_of(0, call.output.len())?);
    apply(call.output, &Sigmoid {});
    Ok(())
}

/// The twin of `film`, row by row.
pub(super) fn film(call: Call<'_>) -> Result<()> {
    let params: film::Params = call.params()?;
    let [pairs, scenes, tokens, columns] =
        [params.pairs, params.scenes, params.tokens, params.columns].map(|size| size as usize);
    let reduced = call.floats_of(0, scenes * tokens * columns)?;
    let is_there = |flag: u32, binding, length| match flag {
        0 => Ok(None),
        _ => call.floats_of(binding, length).map(Some),
    };
    let previous = is_there(params.has_previous, 1, pairs * tokens * columns)?;
    let gamma = is_there(params.conditioned, 2, pairs * columns)?;
    let beta = is_there(params.conditioned, 3, pairs * columns)?;
    rows::for_each(call.output, columns, |row, output| {
        let (pair, token) = (row / tokens, row % tokens);
        let scene = if scenes == 1 { 0 } else { pair };
        output.copy_from_slice(&reduced[(scene * tokens + token) * columns..][..columns]);
        if let Some(previous) = previous {
            let previous = &previous[row * columns..][..columns];
            output.iter_mut().zip(previous).for_each(|(value, previous)| *value += previous);
        }
        if let Some((gamma, beta)) = gamma.zip(beta) {
            let gamma = &gamma[pair * columns..][..columns];
            let beta = &beta[pair * columns..][..columns];
            for ((value, gamma), beta) in output.iter_mut().zip(gamma).zip(beta) {
                *value = gamma * *value + beta;
            }
        }
    });
    Ok(())
}
