//! A run in parts that are submitted one by one: whole steps, or some workgroups of a long dispatch.

use std::ops::Range;

use super::submission::Submission;
use crate::Result;
use crate::step::{Dispatch, Step, bind_group};

/// What one submission holds of a plan's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Consecutive steps.
    Steps(Range<usize>),
    /// Some of a dispatch's workgroups.
    Workgroups { step: usize, block: Block },
}

/// A block of workgroups within a dispatch's grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The id of its first workgroup.
    pub first: [u32; 3],
    /// Its workgroups along x, y and z.
    pub size: [u32; 3],
}

impl Block {
    /// Its part of all workgroups of `grid`.
    pub fn share_of(&self, grid: [u32; 3]) -> f64 {
        let sides = self.size.iter().zip(grid);
        sides.map(|(&own, all)| f64::from(own) / f64::from(all)).product()
    }
}

/// Divides a grid into blocks of at most `most` workgroups, and of at least one: of whole planes where these
/// fit, else of whole rows of a plane, else of parts of a row.
pub(crate) fn blocks(grid: [u32; 3], most: u64) -> Vec<Block> {
    let [x, y, z] = grid.map(u64::from);
    let sizes = if most >= x * y {
        [x, y, most / (x * y).max(1)]
    } else if most >= x {
        [x, most / x.max(1), 1]
    } else {
        [most, 1, 1]
    };
    let [columns, rows, planes] = sizes.map(|size| size.max(1));
    let ranges = |length: u64, size: u64| {
        (0..length).step_by(size as usize).map(move |first| (first as u32, size.min(length - first) as u32))
    };
    let mut blocks = Vec::new();
    for (first_z, size_z) in ranges(z, planes) {
        for (first_y, size_y) in ranges(y, rows) {
            for (first_x, size_x) in ranges(x, columns) {
                blocks.push(Block { first: [first_x, first_y, first_z], size: [size_x, size_y, size_z] });
            }
        }
    }
    blocks
}

impl Submission<'_> {
    /// The run and what `last` adds to it as command buffers, one for each of the `parts`, which follow one
    /// another.
    pub fn commands_in_parts(
        &self,
        parts: &[Part],
        last: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<Vec<wgpu::CommandBuffer>> {
        let device = self.device();
        let gpu = device.gpu()?;
        let steps = &self.run.plan.steps;
        device.guard(|| {
            let descriptor = wgpu::CommandEncoderDescriptor::default();
            let mut encoder = gpu.device.create_command_encoder(&descriptor);
            self.encode_inputs(&mut encoder)?;
            let mut blocks = self.bind_blocks(parts)?.into_iter();
            let dispatches_before = |step: usize| steps[..step].iter().filter_map(Step::dispatch).count();
            let mut commands = Vec::new();
            for (place, part) in parts.iter().enumerate() {
                if place > 0 {
                    let next = gpu.device.create_command_encoder(&descriptor);
                    commands.push(std::mem::replace(&mut encoder, next).finish());
                }
                match part {
                    Part::Steps(range) => {
                        let bind_groups = &self.prepared.bind_groups[dispatches_before(range.start)..];
                        self.encode_steps(&mut encoder, &steps[range.clone()], bind_groups, None)?;
                    }
                    Part::Workgroups { block, .. } => {
                        let Some((dispatch, bind_group)) = blocks.next() else { continue };
                        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                        pass.set_pipeline(dispatch.pipeline.get(device)?);
                        pass.set_bind_group(0, &bind_group, &[]);
                        pass.dispatch_workgroups(block.size[0], block.size[1], block.size[2]);
                    }
                }
            }
            self.encode_outputs(&mut encoder)?;
            last(&mut encoder)?;
            commands.push(encoder.finish());
            Ok(commands)
        })
    }

    /// The dispatch of each block among the `parts`, and its resources with the parameters of the dispatch,
    /// but for the first workgroup, which is the block's own.
    fn bind_blocks(&self, parts: &[Part]) -> Result<Vec<(&Dispatch, wgpu::BindGroup)>> {
        let device = self.device();
        let alignment = device.limits().min_uniform_buffer_offset_alignment as usize;
        let mut uniforms = Vec::new();
        let mut blocks = Vec::new();
        for part in parts {
            let Part::Workgroups { step, block } = part else { continue };
            let Some(dispatch) = self.run.plan.steps[*step].dispatch() else { continue };
            let start = uniforms.len().next_multiple_of(alignment);
            uniforms.resize(start, 0);
            uniforms.extend_from_slice(dispatch.params(&self.prepared.uniforms));
            if let Some(first) = dispatch.pipeline.kernel.first_workgroup {
                let bytes: &[u8] = bytemuck::cast_slice(&block.first);
                uniforms[start + first as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            blocks.push((dispatch, start as u64));
        }
        if blocks.is_empty() {
            return Ok(Vec::new());
        }
        let buffer = device.create_filled_as(&uniforms, wgpu::BufferUsages::UNIFORM)?;
        let bind = |(dispatch, offset)| Ok((dispatch, bind_group(device, dispatch, &buffer, offset)?));
        blocks.into_iter().map(bind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_grid_once_and_are_not_too_large() {
        for grid in [[1, 1, 1], [5, 3, 1], [5, 3, 4], [1, 7, 2], [65, 1, 3]] {
            for most in [0, 1, 2, 4, 5, 7, 14, 15, 16, 31, 60, 1000] {
                let blocks = blocks(grid, most);
                let mut seen = vec![0; grid.iter().product::<u32>() as usize];
                for Block { first, size } in blocks {
                    assert!(u64::from(size.iter().product::<u32>()) <= most.max(1), "{grid:?} by {most}");
                    for z in first[2]..first[2] + size[2] {
                        for y in first[1]..first[1] + size[1] {
                            for x in first[0]..first[0] + size[0] {
                                seen[((z * grid[1] + y) * grid[0] + x) as usize] += 1;
                            }
                        }
                    }
                }
                assert!(seen.iter().all(|&count| count == 1), "{grid:?} by {most}");
            }
        }
    }
}
