//! Runs a step by its kernel's twin, or by a quicker form of it.

use clipseg_shaders::{Kernel, kernels};

use super::memory::{HostBuffer, Values};
use super::{attention, matmul, modulation, normalise, resample};
use crate::buffer::Buffer;
use crate::step::{Dispatch, Memory};
use crate::twin::{self, Call, Twin};
use crate::{Error, Result, ops};

/// Quick forms of the twins in which the time goes.
static QUICK: [(&Kernel, Twin); 11] = [
    (&kernels::activation::KERNEL, modulation::activation),
    (&kernels::attention::KERNEL, attention::attention),
    (&kernels::attention_scores::KERNEL, attention::scores),
    (&kernels::bilinear_resize::KERNEL, resample::bilinear_resize),
    (&kernels::box_mean::KERNEL, resample::box_mean),
    (&kernels::depth_to_space::KERNEL, resample::depth_to_space),
    (&kernels::film::KERNEL, modulation::film),
    (&kernels::im2col_3x3::KERNEL, resample::im2col_3x3),
    (&kernels::layer_norm::KERNEL, normalise::layer_norm),
    (&kernels::sigmoid::KERNEL, modulation::sigmoid),
    (&kernels::softmax::KERNEL, attention::softmax),
];

/// What runs `kernel` here: a quick form of its twin, or the twin itself.
///
/// # Errors
/// [`Error::Device`] where it has none.
pub(crate) fn twin_of(kernel: &Kernel) -> Result<Twin> {
    if ops::is_product(kernel) {
        return Ok(matmul::matmul);
    }
    let quick = QUICK.iter().find(|(other, _)| other.name == kernel.name).map(|&(_, twin)| twin);
    quick
        .or_else(|| twin::twin_of(kernel))
        .ok_or_else(|| Error::Device(format!("{}: the processor does not run this kernel", kernel.name)))
}

/// Runs a recorded step whose parameters lie in `uniforms`.
pub(crate) fn run_step(twin: Twin, dispatch: &Dispatch, uniforms: &[u8]) -> Result<()> {
    let name = dispatch.pipeline.kernel.name;
    let wrong = |what: &str| Error::Device(format!("{name}: {what}"));
    let (written, read) = dispatch.resources.split_last().ok_or_else(|| wrong("it writes nothing"))?;
    let memory = |memory: &Memory| match memory {
        Memory::Buffer(Buffer::Host(buffer)) => Ok(buffer.clone()),
        _ => Err(wrong("its memory is another device's")),
    };
    let output = memory(&written.memory)?;
    let inputs: Vec<HostBuffer> =
        read.iter().map(|resource| memory(&resource.memory)).collect::<Result<_>>()?;
    if inputs.contains(&output) {
        return Err(wrong("it would read what it writes"));
    }
    // One that is bound twice, an input that is also the residual, is locked once.
    let first_of = |buffer: &HostBuffer| inputs.iter().position(|other| other == buffer);
    let locked: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(place, buffer)| (first_of(buffer) == Some(place)).then(|| buffer.read()))
        .collect();
    let values = inputs.iter().filter_map(|buffer| locked[first_of(buffer)?].as_deref());
    let values: Vec<_> = values.map(Values::input).collect();
    let mut output = output.write();
    let bytes = output.bytes_mut()?;
    let length = (written.bytes as usize).min(bytes.len());
    let start = dispatch.uniform_offset as usize;
    twin(Call {
        params: uniforms.get(start..start + dispatch.uniform_bytes as usize).unwrap_or_default(),
        overrides: dispatch.pipeline.overrides(),
        inputs: &values,
        output: bytemuck::cast_slice_mut(&mut bytes[..length]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_a_twin_is_refused_by_name() {
        let error = twin_of(&kernels::matmul_subgroup::KERNEL).unwrap_err();
        assert!(error.to_string().contains("matmul_subgroup"), "{error}");
    }
}
