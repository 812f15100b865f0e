use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::pool::SharedPool;
use crate::profile::Timestamps;
use crate::staging::Staging;
use crate::step::{Step, bind_group, row_layout, texel_extent};
use crate::tensor::{Element, Tensor};
use crate::{Array, Cost, Device, Error, Result};

/// Recorded ops with everything they need, to be run any number of times with one submit each.
pub struct Plan {
    device: Device,
    steps: Vec<Step>,
    /// A bind group for each dispatch, in order.
    bind_groups: Vec<wgpu::BindGroup>,
    /// What counts the memory of the steps.
    pool: SharedPool,
    /// Held from the filling of the inputs to the submission: threads that share a plan take turns. What a run reads back is
    /// copied in the same submission, so the next run may begin before it is read.
    turn: Mutex<()>,
}

impl Plan {
    pub(crate) fn new(device: Device, steps: Vec<Step>, uniforms: &[u8], pool: SharedPool) -> Result<Self> {
        let dispatches = || {
            steps.iter().filter_map(|step| match step {
                Step::Dispatch(dispatch) => Some(dispatch),
                Step::BufferToTexture { .. } | Step::TextureToBuffer { .. } => None,
            })
        };
        let bind_groups = device.guard(|| {
            let uniform_buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("parameters"),
                size: uniforms.len().max(16) as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            device.queue().write_buffer(&uniform_buffer, 0, uniforms);
            #[cfg(not(target_family = "wasm"))]
            device.pipelines().compile_all(&device, dispatches().map(|dispatch| &*dispatch.pipeline));
            dispatches().map(|dispatch| bind_group(&device, dispatch, &uniform_buffer)).collect()
        })?;
        Ok(Self { device, steps, bind_groups, pool, turn: Mutex::default() })
    }

    /// Starts a run: waits for its turn, then takes inputs, runs and gives outputs.
    pub fn run(&self) -> Run<'_> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Run { plan: self, _turn: turn, before: Vec::new(), after: Vec::new() }
    }

    /// Bytes of device memory that the plan's tensors share.
    #[must_use]
    pub fn arena_bytes(&self) -> u64 {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).bytes()
    }

    /// The number of kernel runs in one replay.
    #[must_use]
    pub fn dispatches(&self) -> usize {
        self.bind_groups.len()
    }

    /// The kernels of one replay in the order in which they run, each with the cost of that run.
    pub fn kernels(&self) -> impl Iterator<Item = (&'static str, Cost)> {
        self.steps.iter().filter_map(|step| match step {
            Step::Dispatch(dispatch) => Some((dispatch.pipeline.kernel.name, dispatch.cost)),
            Step::BufferToTexture { .. } | Step::TextureToBuffer { .. } => None,
        })
    }

    /// With `timestamps` every dispatch has a pass of its own; without, as many as follow each other share one.
    fn encode(&self, encoder: &mut wgpu::CommandEncoder, timestamps: Option<&Timestamps>) -> Result<()> {
        let mut bind_groups = self.bind_groups.iter().enumerate().peekable();
        let shares_pass = |a: &Step, b: &Step| {
            timestamps.is_none() && matches!((a, b), (Step::Dispatch(_), Step::Dispatch(_)))
        };
        for steps in self.steps.chunk_by(shares_pass) {
            match &steps[0] {
                Step::Dispatch(_) => {
                    let place = bind_groups.peek().map(|&(place, _)| place);
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes: timestamps.zip(place).and_then(|(all, place)| all.of(place)),
                    });
                    for step in steps {
                        let Step::Dispatch(dispatch) = step else { continue };
                        pass.set_pipeline(dispatch.pipeline.get(&self.device)?);
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

    /// The timestamps of a run, where the device is profiling.
    fn timestamps(&self) -> Option<Timestamps> {
        (self.device.profile().is_on() && !self.bind_groups.is_empty())
            .then(|| Timestamps::new(&self.device, self.kernels()))
    }
}

/// One run of a [`Plan`]: give it inputs, then [`finish`](Self::finish).
pub struct Run<'plan> {
    plan: &'plan Plan,
    _turn: MutexGuard<'plan, ()>,
    before: Vec<(Tensor, Tensor)>,
    after: Vec<(Tensor, Tensor)>,
}

impl Run<'_> {
    /// Fills an input of the plan with `values`.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are not as many as the input has elements.
    pub fn write(&mut self, input: &Tensor, values: &[f32]) -> Result<()> {
        self.write_bytes(input, Element::F32, bytemuck::cast_slice(values))
    }

    /// As [`write`](Self::write), of integers.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_u32(&mut self, input: &Tensor, values: &[u32]) -> Result<()> {
        self.write_bytes(input, Element::U32, bytemuck::cast_slice(values))
    }

    fn write_bytes(&mut self, input: &Tensor, element: Element, bytes: &[u8]) -> Result<()> {
        if input.element() != element || input.bytes() != bytes.len() as u64 {
            let reason = format!("{} values of {element:?} for {input:?}", bytes.len() / 4);
            return Err(Error::Shape { op: "write", reason });
        }
        let device = &self.plan.device;
        let buffer = buffer_in(device, input)?;
        device.guard(|| {
            device.queue().write_buffer(buffer, 0, bytes);
            Ok(())
        })
    }

    /// Fills an input of the plan from a tensor of the same shape on the device, before the run.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shapes differ.
    pub fn copy_in(&mut self, from: &Tensor, input: &Tensor) -> Result<()> {
        self.expect_copy("copy_in", from, input)?;
        self.before.push((from.clone(), input.clone()));
        Ok(())
    }

    /// Copies an output of the plan to a tensor of the same shape, after the run.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shapes differ.
    pub fn copy_out(&mut self, output: &Tensor, to: &Tensor) -> Result<()> {
        self.expect_copy("copy_out", output, to)?;
        self.after.push((output.clone(), to.clone()));
        Ok(())
    }

    /// Runs the plan without waiting: what is submitted later to the same device finds its outputs.
    ///
    /// # Errors
    /// The device's.
    pub fn submit(self) -> Result<()> {
        self.submit_with(|_| Ok(())).map(|_| ())
    }

    /// Runs the plan and reads `outputs` back. The run is submitted, and the plan free for the next one, when this returns; the
    /// future waits for the numbers and may be dropped. Except in browsers its first poll blocks until the device is done.
    ///
    /// # Errors
    /// [`Error::Shape`] for an output that is not the plan's, and the device's errors.
    pub fn finish(self, outputs: &[&Tensor]) -> impl Future<Output = Result<Vec<Array>>> + use<> {
        let started = self.start_reading(outputs);
        async move { started?.finish().await }
    }

    fn start_reading(self, outputs: &[&Tensor]) -> Result<ReadBack> {
        let device = self.plan.device.clone();
        let total = outputs.iter().map(|output| output.bytes()).sum();
        // A buffer of no bytes cannot be mapped.
        let staging = (total > 0).then(|| device.staging(total)).transpose()?;
        let submission = self.submit_with(|encoder| {
            let Some(staging) = &staging else { return Ok(()) };
            let mut offset = 0;
            for output in outputs {
                let buffer = buffer_in(&device, output)?;
                encoder.copy_buffer_to_buffer(buffer, 0, &staging.buffer, offset, output.bytes());
                offset += output.bytes();
            }
            Ok(())
        })?;
        let parts = outputs.iter().map(|output| (output.shape().to_vec(), output.element())).collect();
        Ok(ReadBack { device, staging, submission, total, parts })
    }

    /// Submits the run, and what `last` adds to it.
    fn submit_with(
        self,
        last: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<wgpu::SubmissionIndex> {
        let device = &self.plan.device;
        device.guard(|| {
            let timestamps = self.plan.timestamps();
            let mut encoder = self.encode(timestamps.as_ref())?;
            last(&mut encoder)?;
            let submission = device.queue().submit([encoder.finish()]);
            timestamps.map_or(Ok(()), |timestamps| timestamps.collect(device))?;
            Ok(submission)
        })
    }

    fn expect_copy(&self, op: &'static str, from: &Tensor, to: &Tensor) -> Result<()> {
        let device = &self.plan.device;
        from.expect_on(device)?;
        to.expect_on(device)?;
        if from.shape() == to.shape() && from.element() == to.element() {
            return Ok(());
        }
        Err(Error::Shape { op, reason: format!("{from:?} to {to:?}") })
    }

    fn encode(&self, timestamps: Option<&Timestamps>) -> Result<wgpu::CommandEncoder> {
        let device = &self.plan.device;
        let mut encoder = device.gpu().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (from, to) in &self.before {
            encoder.copy_buffer_to_buffer(
                buffer_in(device, from)?,
                0,
                buffer_in(device, to)?,
                0,
                from.bytes(),
            );
        }
        self.plan.encode(&mut encoder, timestamps)?;
        if let Some(timestamps) = timestamps {
            timestamps.resolve(&mut encoder);
        }
        for (from, to) in &self.after {
            encoder.copy_buffer_to_buffer(
                buffer_in(device, from)?,
                0,
                buffer_in(device, to)?,
                0,
                from.bytes(),
            );
        }
        Ok(encoder)
    }
}

/// Outputs on their way to the host.
struct ReadBack {
    device: Device,
    /// None where all outputs are empty.
    staging: Option<Staging>,
    submission: wgpu::SubmissionIndex,
    total: u64,
    /// The outputs, one behind the other.
    parts: Vec<(Vec<usize>, Element)>,
}

impl ReadBack {
    async fn finish(self) -> Result<Vec<Array>> {
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
fn split(mut bytes: &[u8], parts: Vec<(Vec<usize>, Element)>) -> Vec<Array> {
    let array = |(shape, element): (Vec<usize>, Element)| {
        let (head, tail) = bytes.split_at(element.bytes(shape.iter().product()) as usize);
        bytes = tail;
        Array { shape, values: element.floats(head) }
    };
    parts.into_iter().map(array).collect()
}

fn buffer_in<'tensor>(device: &Device, tensor: &'tensor Tensor) -> Result<&'tensor wgpu::Buffer> {
    tensor.expect_on(device)?;
    tensor.storage().buffer.get().map(|buffer| buffer.get()).ok_or_else(|| Error::Shape {
        op: "run",
        reason: format!("{tensor:?} was not made an output when the plan was recorded"),
    })
}
