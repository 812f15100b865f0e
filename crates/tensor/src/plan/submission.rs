//! Runs a plan on wgpu: one submission, then the read-back.

use super::{Run, buffer_in};
use crate::profile::Timestamps;
use crate::staging::Staging;
use crate::step::{Step, bind_group, row_layout, texel_extent};
use crate::step_check::check_steps;
use crate::tensor::{DType, Tensor};
use crate::{Array, Device, Result};

/// The bind groups of a plan's dispatches, in order, and their parameters.
pub(super) struct Prepared {
    bind_groups: Vec<wgpu::BindGroup>,
    /// The parameters of all dispatches, for those who check them.
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

    pub fn submit(&self) -> Result<()> {
        self.submit_with(|_| Ok(())).map(|_| ())
    }

    /// Submits the run, and copies of its outputs to where they can be read.
    pub fn read(&self, outputs: &[&Tensor]) -> Result<ReadBack> {
        let device = self.device().clone();
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
    ) -> Result<wgpu::SubmissionIndex> {
        let device = self.device();
        let gpu = device.gpu()?;
        if device.step_checks().is_on() {
            return self.submit_checked(last);
        }
        device.guard(|| {
            let timestamps = self.timestamps()?;
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.encode(&mut encoder, timestamps.as_ref())?;
            last(&mut encoder)?;
            let submission = gpu.queue.submit([encoder.finish()]);
            timestamps.map_or(Ok(()), |timestamps| timestamps.collect(device))?;
            Ok(submission)
        })
    }

    /// As [`submit_with`](Self::submit_with), step by step, each beside its twin.
    fn submit_checked(
        &self,
        last: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<wgpu::SubmissionIndex> {
        let device = self.device();
        let steps = &self.run.plan.steps;
        self.submit_alone(|encoder| self.encode_copies(encoder, &self.run.before))?;
        let mut dispatched = 0;
        check_steps(device, steps, &self.prepared.uniforms, &mut |place| {
            let step = &steps[place..=place];
            let bind_groups = &self.prepared.bind_groups[dispatched..];
            dispatched += usize::from(matches!(steps[place], Step::Dispatch(_)));
            self.submit_alone(|encoder| self.encode_steps(encoder, step, bind_groups, None)).map(|_| ())
        })?;
        self.submit_alone(|encoder| {
            self.encode_copies(encoder, &self.run.after)?;
            last(encoder)
        })
    }

    /// Submits what `encode` encodes and nothing else.
    fn submit_alone(
        &self,
        encode: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<wgpu::SubmissionIndex> {
        let device = self.device();
        let gpu = device.gpu()?;
        device.guard(|| {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encode(&mut encoder)?;
            Ok(gpu.queue.submit([encoder.finish()]))
        })
    }

    /// The timestamps of a run, where the device is profiling.
    fn timestamps(&self) -> Result<Option<Timestamps>> {
        let is_wanted = self.device().profile().is_on() && !self.prepared.bind_groups.is_empty();
        is_wanted.then(|| Timestamps::new(self.device(), self.run.plan.kernels())).transpose()
    }

    fn encode(&self, encoder: &mut wgpu::CommandEncoder, timestamps: Option<&Timestamps>) -> Result<()> {
        self.encode_copies(encoder, &self.run.before)?;
        self.encode_steps(encoder, &self.run.plan.steps, &self.prepared.bind_groups, timestamps)?;
        if let Some(timestamps) = timestamps {
            timestamps.resolve(encoder);
        }
        self.encode_copies(encoder, &self.run.after)
    }

    fn encode_copies(&self, encoder: &mut wgpu::CommandEncoder, copies: &[(Tensor, Tensor)]) -> Result<()> {
        for (from, to) in copies {
            let [from_buffer, to_buffer] =
                [buffer_in(self.device(), from)?.gpu()?, buffer_in(self.device(), to)?.gpu()?];
            encoder.copy_buffer_to_buffer(from_buffer, 0, to_buffer, 0, from.bytes());
        }
        Ok(())
    }

    /// With `timestamps` every dispatch has a pass of its own; without, as many as follow each other share one.
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
    submission: wgpu::SubmissionIndex,
    total: u64,
    /// The outputs, one behind the other.
    parts: Vec<(Vec<usize>, DType)>,
}

impl ReadBack {
    pub async fn finish(self) -> Result<Vec<Array>> {
        let Self { device, staging, submission, total, parts } = self;
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
        // In a browser this does nothing and the event loop calls back.
        device.wait_for(submission)?;
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
