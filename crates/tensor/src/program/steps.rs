//! Runs a step by its kernel's twin, or by a quicker form of it.

use clipseg_shaders::{Kernel, kernels};

use super::{attention, matmul, modulation, normalise, resample};
use crate::buffer::Buffer;
use crate::processor::{HostBuffer, Values};
use crate::step::{Dispatch, Memory, Resource};
use crate::twin::{self, Call, Input, Twin};
use crate::{Error, Result, ops};

/// Quick forms of the twins in which the time goes, beside the products.
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
    let Operands { read, written, bytes } = Operands::of(dispatch)?;
    if read.contains(&written) {
        return Err(wrong(dispatch, "it would read what it writes"));
    }
    with_inputs(&read, |inputs| {
        let mut output = written.write();
        twin(call(dispatch, uniforms, inputs, output.floats_mut(bytes)?))
    })
}

/// The memory of a dispatch.
pub(super) struct Operands {
    pub read: Vec<HostBuffer>,
    pub written: HostBuffer,
    /// Bytes that are written.
    pub bytes: usize,
}

impl Operands {
    pub fn of(dispatch: &Dispatch) -> Result<Self> {
        let (written, read) =
            dispatch.resources.split_last().ok_or_else(|| wrong(dispatch, "it writes nothing"))?;
        let memory = |resource: &Resource| match &resource.memory {
            Memory::Buffer(Buffer::Host(buffer)) => Ok(buffer.clone()),
            _ => Err(wrong(dispatch, "its memory is another device's")),
        };
        let read = read.iter().map(memory).collect::<Result<_>>()?;
        Ok(Self { read, written: memory(written)?, bytes: written.bytes as usize })
    }
}

/// Calls `work` with what the buffers hold. A buffer that is there twice, such as an input that is also the
/// residual, is locked once.
pub(super) fn with_inputs<T>(buffers: &[HostBuffer], work: impl FnOnce(&[Input<'_>]) -> T) -> T {
    let first_of = |buffer: &HostBuffer| buffers.iter().position(|other| other == buffer);
    let locked: Vec<_> = buffers
        .iter()
        .enumerate()
        .map(|(index, buffer)| (first_of(buffer) == Some(index)).then(|| buffer.read()))
        .collect();
    let values = buffers.iter().filter_map(|buffer| locked[first_of(buffer)?].as_deref());
    let inputs: Vec<_> = values.map(input).collect();
    work(&inputs)
}

/// The content of a buffer as twins read it.
fn input(values: &Values) -> Input<'_> {
    match values {
        Values::Words(words) => Input::Words(words),
        Values::Weight(weight) => Input::Weight(weight),
    }
}

/// A dispatch with its parameters, as twins take it.
pub(super) fn call<'a>(
    dispatch: &'a Dispatch,
    uniforms: &'a [u8],
    inputs: &'a [Input<'a>],
    output: &'a mut [f32],
) -> Call<'a> {
    Call { params: dispatch.params(uniforms), overrides: dispatch.pipeline.overrides(), inputs, output }
}

fn wrong(dispatch: &Dispatch, what: &str) -> Error {
    Error::Device(format!("{}: {what}", dispatch.pipeline.kernel.name))
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
