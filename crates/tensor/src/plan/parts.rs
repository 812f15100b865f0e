//! The commands of a run's parts.

use super::submission::Submission;
use crate::pacer::Paceable;
use crate::part::{Block, Part};
use crate::step::{Dispatch, Step, bind_group};
use crate::{Device, Result};

impl Paceable for Submission {
    fn device(&self) -> &Device {
        self.device()
    }

    fn steps(&self) -> &[Step] {
        &self.recorded.steps
    }

    fn encode(&mut self, part: &Part, is_first: bool, is_last: bool) -> Result<wgpu::CommandBuffer> {
        let device = self.device();
        let gpu = device.gpu()?;
        let (steps, prepared) = (&self.recorded.steps, self.recorded.prepared()?);
        device.guard(|| {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            if is_first {
                self.encode_inputs(&mut encoder)?;
            }
            match part {
                Part::Steps(range) => {
                    let dispatched = steps[..range.start].iter().filter_map(Step::dispatch).count();
                    let bind_groups = &prepared.bind_groups[dispatched..];
                    self.encode_steps(&mut encoder, &steps[range.clone()], bind_groups, None)?;
                }
                Part::Workgroups { step, block } => {
                    if let Some(dispatch) = steps[*step].dispatch() {
                        self.encode_block(&mut encoder, dispatch, block)?;
                    }
                }
            }
            if is_last {
                self.encode_outputs(&mut encoder)?;
            }
            Ok(encoder.finish())
        })
    }
}

impl Submission {
    /// Some workgroups of a dispatch. It has the dispatch's parameters, with the block's first workgroup.
    fn encode_block(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatch: &Dispatch,
        block: &Block,
    ) -> Result<()> {
        let device = self.device();
        let mut params = dispatch.params(&self.recorded.prepared()?.uniforms).to_vec();
        if let Some(first) = dispatch.pipeline.kernel.first_workgroup {
            let bytes: &[u8] = bytemuck::cast_slice(&block.first);
            params[first as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        let params = device.create_filled_as(&params, wgpu::BufferUsages::UNIFORM)?;
        let bind_group = bind_group(device, dispatch, &params, 0)?;
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(dispatch.pipeline.get(device)?);
        pass.set_bind_group(0, &bind_group, &[]);
        let [x, y, z] = block.size;
        pass.dispatch_workgroups(x, y, z);
        Ok(())
    }
}
