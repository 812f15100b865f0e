//! Runs a plan on the processor.

use super::steps::{run_step, twin_of};
use super::threads::timed;
use crate::plan::TensorCopy;
use crate::step::Step;
use crate::twin::Twin;
use crate::{Device, Error, Result};

/// The twins of a plan's steps, in order, and the parameters of all.
pub(crate) struct Program {
    twins: Vec<Twin>,
    uniforms: Vec<u8>,
}

impl Program {
    /// # Errors
    /// [`Error::Device`] where a step has no twin.
    pub fn new(steps: &[Step], uniforms: Vec<u8>) -> Result<Self> {
        let twin = |step: &Step| match step {
            Step::Dispatch(dispatch) => twin_of(dispatch.pipeline.kernel),
            Step::BufferToTexture { .. } | Step::TextureToBuffer { .. } => {
                Err(Error::Device("the processor has no textures".to_owned()))
            }
        };
        Ok(Self { twins: steps.iter().map(twin).collect::<Result<_>>()?, uniforms })
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
            let dispatches = steps.iter().filter_map(|step| match step {
                Step::Dispatch(dispatch) => Some(dispatch),
                Step::BufferToTexture { .. } | Step::TextureToBuffer { .. } => None,
            });
            for (dispatch, &twin) in dispatches.zip(&self.twins) {
                let (done, seconds) = timed(|| run_step(twin, dispatch, &self.uniforms));
                done?;
                if let Some(seconds) = seconds {
                    device.profile().add((dispatch.pipeline.kernel.name, dispatch.cost), seconds);
                }
            }
            Ok(())
        })?;
        copy(after)
    }
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

fn host(tensor: &crate::Tensor) -> Result<&super::HostBuffer> {
    let memory = tensor.storage().buffer.get();
    memory.ok_or_else(|| Error::Device(format!("{tensor:?} has no memory")))?.get().host()
}
