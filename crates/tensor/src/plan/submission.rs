//! Runs a plan on wgpu: one submission, then the read-back.

use std::ops::Range;

#[cfg(not(target_family = "wasm"))]
use super::all_of;
use super::{Run, Started, buffer_in};
use crate::profile::Timestamps;
use crate::staging::Staging;
use crate::step::{Step, bind_group, row_layout, texel_extent};
use crate::step_check::check_steps;
use crate::submitted::Submitted;
use crate::tensor::{DType, Tensor, TensorCopy};
use crate::{Array, Device, Result};

/// The bind groups of a plan's dispatches, in order, and their parameters.
pub(super) struct Prepared {
    bind_groups: Vec<wgpu::BindGroup>,
    /// The parameters of all dispatches, for the step-by-step check.
    uniforms: Vec<u8>,
}

impl Prepared {
    pub fn new(device: &Device, steps: &[Step], uniforms: Vec<u8>) -> Result<Self> {
        let dispatches = || {
            steps.iter().filter_map(|step| match step {
                Step::Dispatch(dispatch) => Some(dispatch),
                Step::BufferToTexture { .. } | Step::TextureToBuffer { .. } => None,
            })
        };
        let gpu = device.gpu()?;
        let bind_groups = device.guard(|| {
            let uniform_buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("parameters"),
                size: uniforms.len().max(16) as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })?;
            gpu.queue.write_buffer(&uniform_buffer, 0, &uniforms);
            #[cfg(not(target_family = "wasm"))]
            device.pipelines().compile_all(device, dispatches().map(|dispatch| &*dispatch.pipeline));
            dispatches().map(|dispatch| bind_group(device, dispatch, &uniform_buffer)).collect()
        })?;
        Ok(Self { bind_groups, uniforms })
    }
}

/// A run with what was prepared for it.
pub(super) struct Submission<'a> {
    run: &'a Run<'a>,
    prepared: &'a Prepared,
}

impl<'a> Submission<'a> {
    pub fn of(run: &'a Run<'a>, prepared: &'a Prepared) -> Self {
        Self { run, prepared }
    }

    fn device(&self) -> &Device {
        &self.run.plan.device
    }

    pub fn submit(&self) -> Result<Started<()>> {
        let device = self.device();
        if device.is_collecting() {
            let commands = self.commands([self.all_steps()], |_| Ok(()))?;
            commands.into_iter().for_each(|commands| device.collect(commands));
            return Ok(Started::Now(()));
        }
        Ok(match self.submit_with(|_| Ok(()))? {
            Started::Now(_) => Started::Now(()),
            #[cfg(not(target_family = "wasm"))]
            Started::InParts(parts) => Started::InParts(parts),
        })
    }

    /// Submits the run, with copies of its outputs to a buffer that can be read.
    pub fn read(&self, outputs: &[&Tensor]) -> Result<ReadBack> {
        let device = self.device().clone();
        device.expect_submitting("reading a result back")?;
        let total = outputs.iter().map(|output| output.bytes()).sum();
        // A buffer of no bytes cannot be mapped.
        let staging = (total > 0).then(|| device.staging(total)).transpose()?;
        let submission = self.submit_with(|encoder| {
            let Some(staging) = &staging else { return Ok(()) };
            let mut offset = 0;
            for output in outputs {
                let buffer = buffer_in(&device, output)?.gpu()?;
                encoder.copy_buffer_to_buffer(buffer, 0, &staging.buffer, offset, output.bytes());
                offset += output.bytes();
            }
            Ok(())
        })?;
        let parts = outputs.iter().map(|output| (output.shape().to_vec(), output.dtype())).collect();
        Ok(ReadBack { device, staging, submission, total, parts })
    }

    /// Submits the run, and what `last` adds to it.
    fn submit_with(
        &self,
        last: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<Started<Submitted>> {
        let device = self.device();
        let gpu = device.gpu()?;
        if device.step_checks().is_on() {
            return self.submit_checked(last).map(Started::Now);
        }
        if device.profile().is_on() && !self.prepared.bind_groups.is_empty() {
            return self.submit_profiled(last).map(Started::Now);
        }
        #[cfg(not(target_family = "wasm"))]
        if let Some(pacer) = &gpu.pacer {
            let (ranges, operations): (Vec<_>, Vec<_>) = pacer.cut(&self.run.plan.steps).into_iter().unzip();
            let parts = self.commands(ranges, last)?.into_iter().zip(operations).collect();
            return Ok(Started::InParts(pacer.submit(device, parts)));
        }
        let commands = self.commands([self.all_steps()], last)?;
        device.guard(|| Ok(gpu.submit(commands))).map(Started::Now)
    }

    fn all_steps(&self) -> Range<usize> {
        0..self.run.plan.steps.len()
    }

    /// The run and what `last` adds to it as command buffers, one for each of the `ranges` of its steps. The
    /// ranges are consecutive.
    fn commands(
        &self,
        ranges: impl IntoIterator<Item = Range<usize>>,
        last: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<Vec<wgpu::CommandBuffer>> {
        let device = self.device();
        let gpu = device.gpu()?;
        device.guard(|| {
            let descriptor = wgpu::CommandEncoderDescriptor::default();
            let mut encoder = gpu.device.create_command_encoder(&descriptor);
            self.encode_inputs(&mut encoder)?;
            let mut bind_groups = &self.prepared.bind_groups[..];
            let mut commands = Vec::new();
            for (place, range) in ranges.into_iter().enumerate() {
                if place > 0 {
                    let next = gpu.device.create_command_encoder(&descriptor);
                    commands.push(std::mem::replace(&mut encoder, next).finish());
                }
                let steps = &self.run.plan.steps[range];
                self.encode_steps(&mut encoder, steps, bind_groups, None)?;
                let dispatches = steps.iter().filter(|step| matches!(step, Step::Dispatch(_))).count();
                bind_groups = &bind_groups[dispatches..];
            }
            self.encode_outputs(&mut encoder)?;
            last(&mut encoder)?;
            commands.push(encoder.finish());
            Ok(commands)
        })
    }

    /// As [`submit_with`](Self::submit_with), with timestamps, for which it waits.
    fn submit_profiled(
        &self,
        last: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<Submitted> {
        let device = self.device();
        let gpu = device.gpu()?;
        device.guard(|| {
            let timestamps = Timestamps::new(device, self.run.plan.kernels())?;
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.encode_inputs(&mut encoder)?;
            let (steps, bind_groups) = (&self.run.plan.steps, &self.prepared.bind_groups);
            self.encode_steps(&mut encoder, steps, bind_groups, Some(&timestamps))?;
            timestamps.resolve(&mut encoder);
            self.encode_outputs(&mut encoder)?;
            last(&mut encoder)?;
            let submission = gpu.submit([encoder.finish()]);
            timestamps.collect(device, submission.clone())?;
            Ok(submission)
        })
    }

    /// As [`submit_with`](Self::submit_with), step by step, comparing each step with its CPU twin.
    fn submit_checked(
        &self,
        last: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<Submitted> {
        let device = self.device();
        let steps = &self.run.plan.steps;
        self.submit_alone(|encoder| self.encode_inputs(encoder))?;
        let mut dispatched = 0;
        check_steps(device, steps, &self.prepared.uniforms, &mut |place| {
            let step = &steps[place..=place];
            let bind_groups = &self.prepared.bind_groups[dispatched..];
            dispatched += usize::from(matches!(steps[place], Step::Dispatch(_)));
            self.submit_alone(|encoder| self.encode_steps(encoder, step, bind_groups, None)).map(|_| ())
        })?;
        self.submit_alone(|encoder| {
            self.encode_outputs(encoder)?;
            last(encoder)
        })
    }

    /// Submits what `encode` encodes and nothing else.
    fn submit_alone(
        &self,
        encode: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<Submitted> {
        let device = self.device();
        let gpu = device.gpu()?;
        device.guard(|| {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encode(&mut encoder)?;
            Ok(gpu.submit([encoder.finish()]))
        })
    }

    fn encode_inputs(&self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        for (from, to) in &self.run.uploads {
            encoder.copy_buffer_to_buffer(from, 0, buffer_in(self.device(), to)?.gpu()?, 0, to.bytes());
        }
        self.encode_copies(encoder, &self.run.before)?;
        self.run.first.iter().try_for_each(|step| step.encode(self.device(), encoder))
    }

    fn encode_outputs(&self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        self.encode_copies(encoder, &self.run.after)?;
        self.run.last.iter().try_for_each(|step| step.encode(self.device(), encoder))
    }

    fn encode_copies(&self, encoder: &mut wgpu::CommandEncoder, copies: &[TensorCopy]) -> Result<()> {
        for TensorCopy { from, first, to } in copies {
            let [from_buffer, to_buffer] =
                [buffer_in(self.device(), from)?.gpu()?, buffer_in(self.device(), to)?.gpu()?];
            encoder.copy_buffer_to_buffer(from_buffer, *first, to_buffer, 0, to.bytes());
        }
        Ok(())
    }

    /// With `timestamps` every dispatch has a pass of its own; without, consecutive dispatches share one.
    fn encode_steps(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        steps: &[Step],
        bind_groups: &[wgpu::BindGroup],
        timestamps: Option<&Timestamps>,
    ) -> Result<()> {
        let mut bind_groups = bind_groups.iter().enumerate().peekable();
        let shares_pass = |a: &Step, b: &Step| {
            timestamps.is_none() && matches!((a, b), (Step::Dispatch(_), Step::Dispatch(_)))
        };
        for steps in steps.chunk_by(shares_pass) {
            match &steps[0] {
                Step::Dispatch(_) => {
                    let place = bind_groups.peek().map(|&(place, _)| place);
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes: timestamps.zip(place).and_then(|(all, place)| all.of(place)),
                    });
                    for step in steps {
                        let Step::Dispatch(dispatch) = step else { continue };
                        pass.set_pipeline(dispatch.pipeline.get(self.device())?);
                        pass.set_bind_group(0, bind_groups.next().map(|(_, group)| group), &[]);
                        pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], dispatch.grid[2]);
                    }
                }
                Step::BufferToTexture { buffer, texture, rows, columns } => encoder.copy_buffer_to_texture(
                    row_layout(buffer, *columns),
                    texture.as_image_copy(),
                    texel_extent(*rows, *columns),
                ),
                Step::TextureToBuffer { texture, buffer, rows, columns } => encoder.copy_texture_to_buffer(
                    texture.as_image_copy(),
                    row_layout(buffer, *columns),
                    texel_extent(*rows, *columns),
                ),
            }
        }
        Ok(())
    }
}

/// Outputs on their way to the host.
pub(super) struct ReadBack {
    device: Device,
    /// None where all outputs are empty.
    staging: Option<Staging>,
    submission: Started<Submitted>,
    total: u64,
    /// The outputs, one behind the other.
    parts: Vec<(Vec<usize>, DType)>,
}

impl ReadBack {
    pub async fn finish(self) -> Result<Vec<Array>> {
        let Self { device, staging, submission, total, parts } = self;
        let submission = match submission {
            Started::Now(submission) => submission,
            #[cfg(not(target_family = "wasm"))]
            Started::InParts(all) => all_of(all).await?,
        };
        let Some(staging) = staging else {
            return Ok(split(&[], parts));
        };
        let (sender, receiver) = futures_channel::oneshot::channel();
        device.guard(|| {
            staging.buffer.map_async(wgpu::MapMode::Read, ..total, move |result| {
                // The receiver is gone only if the caller gave up waiting.
                let _ = sender.send(result);
            });
            Ok(())
        })?;
        let done = device.gpu()?.done(submission);
        done.await?;
        let failed = |reason: String| device.failures().failed(format!("reading back: {reason}"));
        let mapped = receiver.await.map_err(|_| failed("it was dropped".to_owned()))?;
        mapped.map_err(|error| failed(error.to_string()))?;
        let arrays = device.failures().read_mapped(|| {
            let view = staging.buffer.get_mapped_range(..total).map_err(|error| failed(error.to_string()))?;
            let arrays = split(&view, parts);
            drop(view);
            staging.buffer.unmap();
            Ok(arrays)
        })?;
        device.return_staging(staging);
        Ok(arrays)
    }
}

/// The arrays whose values lie one behind the other in `bytes`.
fn split(mut bytes: &[u8], parts: Vec<(Vec<usize>, DType)>) -> Vec<Array> {
    let array = |(shape, dtype): (Vec<usize>, DType)| {
        let (head, tail) = bytes.split_at(dtype.bytes(shape.iter().product()) as usize);
        bytes = tail;
        Array { shape, values: dtype.floats(head) }
    };
    parts.into_iter().map(array).collect()
}
