//! Runs a recorded plan on the processor with the CPU twins of its kernels, with the same shapes, bindings
//! and parameters, on all cores.
//!
//! Most steps run the twins of `clipseg-shaders` as they are. The steps that take most of the time have fast
//! versions here, each tested against its twin: matrix products use `rten-gemm`, attention keeps
//! queries in the lanes of vectors, and activations use `rten-vecmath`.

mod attention;
mod matmul;
mod modulation;
mod normalise;
mod pairs;
mod resample;
mod rows;
mod steps;

use self::pairs::{is_pair, run_pair};
use self::steps::{run_step, twin_of};
use crate::pool::Pool;
use crate::processor::{HostBuffer, timed};
use crate::step::{Dispatch, Step};
use crate::tensor::TensorCopy;
use crate::twin::Twin;
use crate::{Device, Error, Result, Tensor};

/// What a plan's steps do, in order, and the parameters of all.
pub(crate) struct Program {
    work: Vec<Work>,
    uniforms: Vec<u8>,
}

/// What one step does, or two.
enum Work {
    One(Twin),
    /// The two products of an MLP.
    Pair,
}

impl Program {
    /// The program of recorded `steps`, whose memory is of `pool`.
    ///
    /// # Errors
    /// [`Error::Device`] where a step has no twin.
    pub fn new(steps: &[Step], uniforms: Vec<u8>, pool: &Pool) -> Result<Self> {
        let (mut work, mut index) = (Vec::new(), 0);
        while let Some(step) = steps.get(index) {
            let Step::Dispatch(dispatch) = step else {
                return Err(Error::Device("the processor has no textures".to_owned()));
            };
            let twin = twin_of(dispatch.pipeline.kernel)?;
            let is_pair = is_pair(steps, index, &uniforms, |buffer| pool.is_free(buffer));
            work.push(if is_pair { Work::Pair } else { Work::One(twin) });
            index += if is_pair { 2 } else { 1 };
        }
        Ok(Self { work, uniforms })
    }

    /// How many pairs of products run as one.
    #[cfg(test)]
    pub fn pairs(&self) -> usize {
        self.work.iter().filter(|work| matches!(work, Work::Pair)).count()
    }

    /// Makes the copies `before`, runs the steps, and makes the copies `after`.
    pub fn run(
        &self,
        device: &Device,
        steps: &[Step],
        before: &[TensorCopy],
        after: &[TensorCopy],
    ) -> Result<()> {
        device.guard(|| self.run_guarded(device, steps, before, after))
    }

    fn run_guarded(
        &self,
        device: &Device,
        steps: &[Step],
        before: &[TensorCopy],
        after: &[TensorCopy],
    ) -> Result<()> {
        let Some(processor) = device.processor() else {
            return Err(Error::Device("a plan of the processor's on another device".to_owned()));
        };
        copy(before)?;
        processor.threads().run(|| -> Result<()> {
            let mut dispatches = steps.iter().filter_map(|step| match step {
                Step::Dispatch(dispatch) => Some(dispatch),
                Step::BufferToTexture { .. } | Step::TextureToBuffer { .. } => None,
            });
            for work in &self.work {
                let mut next = || dispatches.next().ok_or_else(too_few);
                let first = next()?;
                let second = if let Work::Pair = work { Some(next()?) } else { None };
                let (done, seconds) = timed(|| match (work, second) {
                    (Work::One(twin), _) => run_step(*twin, first, &self.uniforms),
                    (Work::Pair, Some(second)) => run_pair(first, second, &self.uniforms),
                    (Work::Pair, None) => Err(too_few()),
                });
                done?;
                // Two that ran as one share the time as they share the operations.
                let flops = |dispatch: &Dispatch| dispatch.cost.flops as f64;
                let all: f64 = std::iter::once(first).chain(second).map(flops).sum();
                for dispatch in std::iter::once(first).chain(second) {
                    let share = if second.is_some() { flops(dispatch) / all } else { 1.0 };
                    if let Some(seconds) = seconds {
                        device.profile().add((dispatch.pipeline.kernel.name, dispatch.cost), share * seconds);
                    }
                }
            }
            Ok(())
        })?;
        copy(after)
    }
}

fn too_few() -> Error {
    Error::Device("a plan has fewer steps than its program".to_owned())
}

fn copy(copies: &[TensorCopy]) -> Result<()> {
    for TensorCopy { from, first, to } in copies {
        let [from_buffer, to_buffer] = [host(from)?, host(to)?];
        if from_buffer == to_buffer {
            continue;
        }
        let values = from_buffer.read();
        let first = *first as usize;
        to_buffer.fill(&bytemuck::cast_slice(values.words()?)[first..first + to.bytes() as usize])?;
    }
    Ok(())
}

fn host(tensor: &Tensor) -> Result<&HostBuffer> {
    let memory = tensor.storage().buffer.get();
    memory.ok_or_else(|| Error::Device(format!("{tensor:?} has no memory")))?.get().host()
}
