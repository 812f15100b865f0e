//! Runs a plan on wgpu: one submission, then the read-back.

use std::sync::Arc;

#[cfg(not(target_family = "wasm"))]
use super::all_of;
use super::{Recorded, Started, Work, buffer_in};
use crate::host_memory::{HOSTS_MEMORY, of_this_instance};
use crate::profile::Timestamps;
use crate::staging::Staging;
use crate::step::{Dispatch, Step, bind_group, row_layout, texel_extent};
use crate::step_check::check_steps;
use crate::submitted::Submitted;
use crate::tensor::{DType, Tensor, TensorCopy};
use crate::{Array, Device, Result};

/// The bind groups of a plan's dispatches, in order, and their parameters.
pub(super) struct Prepared {
    pub bind_groups: Vec<wgpu::BindGroup>,
    /// The parameters of all dispatches, for the step-by-step check and for dispatches in parts.
    pub uniforms: Vec<u8>,
}

impl Prepared {
    pub fn new(device: &Device, steps: &[Step], uniforms: Vec<u8>) -> Result<Self> {
        let dispatches = || steps.iter().filter_map(Step::dispatch);
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
            let bind =
                |dispatch: &Dispatch| bind_group(device, dispatch, &uniform_buffer, dispatch.uniform_offset);
            dispatches().map(bind).collect()
        })?;
        Ok(Self { bind_groups, uniforms })
    }
}

/// A run that is about to be submitted.
pub(super) struct Submission {
    pub recorded: Arc<Recorded>,
    pub work: Work,
    /// What is read back, which is copied behind everything else.
    reads: Vec<ReadCopy>,
}

/// A copy of a whole output to where it can be read.
struct ReadCopy {
    from: wgpu::Buffer,
    bytes: u64,
    staging: wgpu::Buffer,
    offset: u64,
}

impl Submission {
    pub fn of(recorded: &Arc<Recorded>, work: Work) -> Self {
        Self { recorded: Arc::clone(recorded), work, reads: Vec::new() }
    }

    pub fn device(&self) -> &Device {
        &self.recorded.device
    }

    pub fn submit(self) -> Result<Started<()>> {
        if self.device().is_collecting() {
            let commands = self.commands()?;
            let device = self.device().clone();
            device.collect(commands, self.work)?;
            return Ok(Started::Now(()));
        }
        Ok(match self.start()? {
            Started::Now(_) => Started::Now(()),
            #[cfg(not(target_family = "wasm"))]
            Started::InParts(parts) => Started::InParts(parts),
        })
    }

    /// Submits the run, with copies of its outputs to a buffer that can be read.
    pub fn read(mut self, outputs: &[&Tensor]) -> Result<ReadBack> {
        let device = self.device().clone();
        device.expect_submitting("reading a result back")?;
        let total = outputs.iter().map(|output| output.bytes()).sum();
        // A buffer of no bytes cannot be mapped.
        let staging = (total > 0).then(|| device.staging(total)).transpose()?;
        if let Some(Staging { buffer: staging, .. }) = &staging {
            let mut offset = 0;
            for output in outputs {
                let (from, bytes) = (buffer_in(&device, output)?.gpu()?.clone(), output.bytes());
                self.reads.push(ReadCopy { from, bytes, staging: staging.clone(), offset });
                offset += bytes;
            }
        }
        let submission = self.start()?;
        let parts = outputs.iter().map(|output| (output.shape().to_vec(), output.dtype())).collect();
        Ok(ReadBack { device, staging, submission, total, parts })
    }

    fn start(self) -> Result<Started<Submitted>> {
        let device = self.device().clone();
        if device.step_checks().is_on() {
            self.finish_runs_in_parts()?;
            return self.submit_checked().map(Started::Now);
        }
        if device.profile().is_on() && !self.recorded.prepared()?.bind_groups.is_empty() {
            self.finish_runs_in_parts()?;
            return self.submit_profiled().map(Started::Now);
        }
        #[cfg(not(target_family = "wasm"))]
        if let Some(pacer) = &device.gpu()?.pacer {
            return Ok(Started::InParts(pacer.submit(Box::new(self))));
        }
        self.submit_whole().map(Started::Now)
    }

    /// Waits for runs in parts to end, before this one is submitted by another way than they are.
    fn finish_runs_in_parts(&self) -> Result<()> {
        #[cfg(not(target_family = "wasm"))]
        if let Some(pacer) = &self.device().gpu()?.pacer {
            pacer.finish();
        }
        Ok(())
    }

    /// Submits the run at once, also where runs are submitted in parts.
    pub fn submit_whole(&self) -> Result<Submitted> {
        self.device().submit([self.commands()?])
    }

    /// Encodes commands. wgpu panics where a host's memory is of another instance.
    fn encoded<T>(&self, encode: impl FnOnce() -> Result<T>) -> Result<T> {
        let device = self.device();
        match self.work.has_host_steps() {
            true => of_this_instance(HOSTS_MEMORY, || device.guard(encode)),
            false => device.guard(encode),
        }
    }

    fn commands(&self) -> Result<wgpu::CommandBuffer> {
        let gpu = self.device().gpu()?;
        self.encoded(|| {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.encode_inputs(&mut encoder)?;
            let bind_groups = &self.recorded.prepared()?.bind_groups;
            self.encode_steps(&mut encoder, &self.recorded.steps, bind_groups, None)?;
            self.encode_outputs(&mut encoder)?;
            Ok(encoder.finish())
        })
    }

    /// As [`submit_whole`](Self::submit_whole), with timestamps, for which it waits.
    fn submit_profiled(&self) -> Result<Submitted> {
        let device = self.device();
        let gpu = device.gpu()?;
        let (timestamps, commands) = self.encoded(|| {
            let timestamps = Timestamps::new(device, self.recorded.kernels())?;
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.encode_inputs(&mut encoder)?;
            let (steps, bind_groups) = (&self.recorded.steps, &self.recorded.prepared()?.bind_groups);
            self.encode_steps(&mut encoder, steps, bind_groups, Some(&timestamps))?;
            timestamps.resolve(&mut encoder);
            self.encode_outputs(&mut encoder)?;
            Ok((timestamps, encoder.finish()))
        })?;
        let submission = device.submit([commands])?;
        timestamps.collect(device, submission.clone())?;
        Ok(submission)
    }

    /// As [`submit_whole`](Self::submit_whole), step by step, comparing each step with its CPU twin.
    fn submit_checked(&self) -> Result<Submitted> {
        let device = self.device();
        let (steps, prepared) = (&self.recorded.steps, self.recorded.prepared()?);
        self.submit_alone(|encoder| self.encode_inputs(encoder))?;
        let mut dispatched = 0;
        check_steps(device, steps, &prepared.uniforms, &mut |place| {
            let step = &steps[place..=place];
            let bind_groups = &prepared.bind_groups[dispatched..];
            dispatched += usize::from(matches!(steps[place], Step::Dispatch(_)));
            self.submit_alone(|encoder| self.encode_steps(encoder, step, bind_groups, None)).map(|_| ())
        })?;
        self.submit_alone(|encoder| self.encode_outputs(encoder))
    }

    /// Submits what `encode` encodes and nothing else.
    fn submit_alone(
        &self,
        encode: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<Submitted> {
        let device = self.device();
        let gpu = device.gpu()?;
        let commands = self.encoded(|| {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encode(&mut encoder)?;
            Ok(encoder.finish())
        })?;
        device.submit([commands])
    }

    pub fn encode_inputs(&self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        for (from, to) in &self.work.uploads {
            encoder.copy_buffer_to_buffer(from, 0, buffer_in(self.device(), to)?.gpu()?, 0, to.bytes());
        }
        self.encode_copies(encoder, &self.work.before)?;
        self.work.first.iter().try_for_each(|step| step.encode(self.device(), encoder))
    }

    pub fn encode_outputs(&self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        self.encode_copies(encoder, &self.work.after)?;
        self.work.last.iter().try_for_each(|step| step.encode(self.device(), encoder))?;
        for ReadCopy { from, bytes, staging, offset } in &self.reads {
            encoder.copy_buffer_to_buffer(from, 0, staging, *offset, *bytes);
        }
        Ok(())
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
    pub fn encode_steps(
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
