#[cfg(not(target_family = "wasm"))]
mod parts;
mod submission;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::submission::{Prepared, Submission};
use crate::buffer::Buffer;
use crate::host_memory::HostStep;
#[cfg(not(target_family = "wasm"))]
use crate::pacer::Paced;
use crate::pool::SharedPool;
#[cfg(feature = "processor")]
use crate::program::Program;
use crate::step::Step;
#[cfg(not(target_family = "wasm"))]
use crate::submitted::Submitted;
use crate::tensor::{DType, Tensor, TensorCopy};
use crate::{Array, Cost, Device, Error, Result};

/// Recorded ops with everything they need, to be run any number of times with one submit each.
pub struct Plan {
    recorded: Arc<Recorded>,
    /// Locked from the filling of the inputs until the submission, so that threads that share a plan take
    /// turns. The same submission copies the results that are to be read back, so the next run may begin
    /// before they are read.
    turn: Mutex<()>,
}

/// What was recorded. A run that is submitted in parts holds it until its last part.
struct Recorded {
    device: Device,
    steps: Vec<Step>,
    /// What runs them.
    engine: Engine,
    /// The pool that counts the memory of the steps.
    pool: SharedPool,
}

/// How the device runs the steps.
enum Engine {
    Gpu(Prepared),
    #[cfg(feature = "processor")]
    Processor(Program),
}

impl Plan {
    pub(crate) fn new(device: Device, steps: Vec<Step>, uniforms: Vec<u8>, pool: SharedPool) -> Result<Self> {
        #[cfg(feature = "processor")]
        let engine = match device.processor() {
            Some(_) => {
                let pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
                Engine::Processor(Program::new(&steps, uniforms, &pool)?)
            }
            None => Engine::Gpu(Prepared::new(&device, &steps, uniforms)?),
        };
        #[cfg(not(feature = "processor"))]
        let engine = Engine::Gpu(Prepared::new(&device, &steps, uniforms)?);
        let recorded = Arc::new(Recorded { device, steps, engine, pool });
        Ok(Self { recorded, turn: Mutex::default() })
    }

    /// Begins a run: waits for the plan to be free. Fill the inputs of the [`Run`], then submit or finish it.
    pub fn run(&self) -> Run<'_> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Run { plan: self, _turn: turn, work: Work::default() }
    }

    /// Bytes of device memory that the plan's tensors share.
    #[must_use]
    pub fn arena_bytes(&self) -> u64 {
        self.recorded.pool.lock().unwrap_or_else(PoisonError::into_inner).bytes()
    }

    /// The processor's program.
    #[cfg(all(test, feature = "processor"))]
    pub(crate) fn program(&self) -> Option<&Program> {
        match &self.recorded.engine {
            Engine::Processor(program) => Some(program),
            Engine::Gpu(_) => None,
        }
    }

    /// The number of kernel runs in one replay.
    #[must_use]
    pub fn dispatches(&self) -> usize {
        self.kernels().count()
    }

    /// The kernels of one replay in the order in which they run, each with the cost of that run.
    pub fn kernels(&self) -> impl Iterator<Item = (&'static str, Cost)> {
        self.recorded.kernels()
    }
}

impl Recorded {
    fn kernels(&self) -> impl Iterator<Item = (&'static str, Cost)> {
        let dispatches = self.steps.iter().filter_map(Step::dispatch);
        dispatches.map(|dispatch| (dispatch.pipeline.kernel.name, dispatch.cost))
    }

    /// What was prepared for a driver.
    fn prepared(&self) -> Result<&Prepared> {
        match &self.engine {
            Engine::Gpu(prepared) => Ok(prepared),
            #[cfg(feature = "processor")]
            Engine::Processor(_) => Err(Error::Device("a plan of the processor for a driver".to_owned())),
        }
    }
}

/// One run of a [`Plan`]: give it inputs, then [`finish`](Self::finish).
pub struct Run<'plan> {
    plan: &'plan Plan,
    _turn: MutexGuard<'plan, ()>,
    work: Work,
}

/// What happens around the plan's steps, in this order: the `uploads`, the copies `before`, steps on a host's
/// memory `first`; then the plan's steps; then the copies `after`, steps on a host's memory `last`.
#[derive(Default)]
pub(crate) struct Work {
    /// Values for inputs, where the run's own submission copies them in.
    uploads: Vec<(wgpu::Buffer, Tensor)>,
    before: Vec<TensorCopy>,
    first: Vec<HostStep>,
    after: Vec<TensorCopy>,
    last: Vec<HostStep>,
}

impl Work {
    fn has_host_steps(&self) -> bool {
        !self.first.is_empty() || !self.last.is_empty()
    }
}

impl Run<'_> {
    /// Fills an input of the plan with `values`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the input has another number of elements.
    pub fn write(&mut self, input: &Tensor, values: &[f32]) -> Result<()> {
        self.write_bytes(input, DType::F32, bytemuck::cast_slice(values))
    }

    /// As [`write`](Self::write), with integers.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_u32(&mut self, input: &Tensor, values: &[u32]) -> Result<()> {
        self.write_bytes(input, DType::U32, bytemuck::cast_slice(values))
    }

    fn write_bytes(&mut self, input: &Tensor, dtype: DType, bytes: &[u8]) -> Result<()> {
        if input.dtype() != dtype || input.bytes() != bytes.len() as u64 {
            let reason = format!("{} values of {dtype:?} for {input:?}", bytes.len() / 4);
            return Err(Error::Shape { op: "write", reason });
        }
        let device = &self.plan.recorded.device;
        match buffer_in(device, input)? {
            Buffer::Gpu(_) if device.gpu()?.submits_later() => {
                // A write through the queue takes effect with the next submission by anyone, perhaps of
                // earlier commands that run this very plan.
                let upload = device.guard(|| device.create_filled(bytes))?;
                self.work.uploads.push((upload, input.clone()));
                Ok(())
            }
            Buffer::Gpu(buffer) => {
                let gpu = device.gpu()?;
                device.guard(|| {
                    gpu.queue.write_buffer(buffer, 0, bytes);
                    Ok(())
                })
            }
            #[cfg(feature = "processor")]
            Buffer::Host(buffer) => device.guard(|| buffer.fill(bytes)),
        }
    }

    /// Fills an input of the plan from a tensor of the same shape on the device, before the run.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shapes differ.
    pub fn copy_in(&mut self, from: &Tensor, input: &Tensor) -> Result<()> {
        self.expect_copy("copy_in", from, input)?;
        self.work.before.push(TensorCopy { from: from.clone(), first: 0, to: input.clone() });
        Ok(())
    }

    /// As [`copy_in`](Self::copy_in), from the slice `index` of a tensor along its first dimension.
    pub(crate) fn copy_in_part(&mut self, from: &Tensor, index: usize, input: &Tensor) -> Result<()> {
        let device = &self.plan.recorded.device;
        from.expect_on(device)?;
        input.expect_on(device)?;
        let parts = from.shape().first().copied().unwrap_or(0);
        let fits = index < parts && from.len() == parts * input.len() && from.dtype() == input.dtype();
        if !fits {
            let reason = format!("part {index} of {from:?} to {input:?}");
            return Err(Error::Shape { op: "copy_in", reason });
        }
        self.work.before.push(TensorCopy {
            from: from.clone(),
            first: index as u64 * input.bytes(),
            to: input.clone(),
        });
        Ok(())
    }

    /// Adds a step on a host's memory before the plan's steps.
    pub(crate) fn first(&mut self, step: HostStep) {
        self.work.first.push(step);
    }

    /// Adds a step on a host's memory behind the plan's steps.
    pub(crate) fn last(&mut self, step: HostStep) {
        self.work.last.push(step);
    }

    /// Copies an output of the plan to a tensor of the same shape, after the run.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shapes differ.
    pub fn copy_out(&mut self, output: &Tensor, to: &Tensor) -> Result<()> {
        self.expect_copy("copy_out", output, to)?;
        self.work.after.push(TensorCopy { from: output.clone(), first: 0, to: to.clone() });
        Ok(())
    }

    /// Submits the run without waiting for it: work that is submitted later to the same device finds its
    /// outputs. Within [`Device::commands`] the run becomes part of those commands. On the processor it is
    /// done when this returns.
    ///
    /// # Errors
    /// The device's.
    pub fn submit(self) -> Result<()> {
        match self.start()? {
            Started::Now(()) => Ok(()),
            #[cfg(not(target_family = "wasm"))]
            Started::InParts(parts) => pollster::block_on(all_of(parts)).map(|_| ()),
        }
    }

    /// As [`submit`](Self::submit), as a future. Where the run is submitted in parts
    /// ([`DeviceOptions::longest_submission`](crate::DeviceOptions::longest_submission)), `submit` blocks
    /// until the last part; this future waits for it instead. Dropping it cancels the parts that are not yet
    /// submitted.
    ///
    /// # Errors
    /// The device's.
    pub fn submitted(self) -> impl Future<Output = Result<()>> + use<> {
        let started = self.start();
        async move {
            match started? {
                Started::Now(()) => Ok(()),
                #[cfg(not(target_family = "wasm"))]
                Started::InParts(parts) => all_of(parts).await.map(|_| ()),
            }
        }
    }

    fn start(self) -> Result<Started<()>> {
        let Self { plan, work, _turn } = self;
        let recorded = &plan.recorded;
        match &recorded.engine {
            Engine::Gpu(_) => Submission::of(recorded, work).submit(),
            #[cfg(feature = "processor")]
            Engine::Processor(program) => {
                program.run(&recorded.device, &recorded.steps, &work.before, &work.after)?;
                Ok(Started::Now(()))
            }
        }
    }

    /// Submits the run at once, also where longer ones are submitted in parts.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn submit_whole(self) -> Result<()> {
        match &self.plan.recorded.engine {
            Engine::Gpu(_) => Submission::of(&self.plan.recorded, self.work).submit_whole().map(|_| ()),
            #[cfg(feature = "processor")]
            Engine::Processor(_) => self.submit(),
        }
    }

    /// Runs the plan and reads `outputs` back. When this returns, the run is submitted and the plan free for
    /// the next one; the future waits for the numbers and may be dropped. Awaiting it blocks no thread: a
    /// thread of the device's own waits, or within [`block_on`](crate::block_on) the calling one. On the
    /// processor the run is done when this returns.
    ///
    /// # Errors
    /// [`Error::Shape`] for a tensor that is not an output, [`Error::OtherDevice`] for another device's,
    /// [`Error::Unsubmitted`] within [`Device::commands`], and the device's errors.
    pub fn finish(self, outputs: &[&Tensor]) -> impl Future<Output = Result<Vec<Array>>> + use<> {
        let started = self.start_reading(outputs);
        async move {
            match started? {
                Reading::OnItsWay(read_back) => read_back.finish().await,
                #[cfg(feature = "processor")]
                Reading::There(arrays) => Ok(arrays),
            }
        }
    }

    fn start_reading(self, outputs: &[&Tensor]) -> Result<Reading> {
        let Self { plan, work, _turn } = self;
        let recorded = &plan.recorded;
        match &recorded.engine {
            Engine::Gpu(_) => Submission::of(recorded, work).read(outputs).map(Reading::OnItsWay),
            #[cfg(feature = "processor")]
            Engine::Processor(program) => {
                let device = &recorded.device;
                program.run(device, &recorded.steps, &work.before, &work.after)?;
                let array = |output: &&Tensor| {
                    let values = buffer_in(device, output)?.host()?.read();
                    let bytes = &bytemuck::cast_slice(values.words()?)[..output.bytes() as usize];
                    Ok(Array { shape: output.shape().to_vec(), values: output.dtype().floats(bytes) })
                };
                device.guard(|| outputs.iter().map(array).collect::<Result<_>>()).map(Reading::There)
            }
        }
    }

    fn expect_copy(&self, op: &'static str, from: &Tensor, to: &Tensor) -> Result<()> {
        let device = &self.plan.recorded.device;
        from.expect_on(device)?;
        to.expect_on(device)?;
        if from.shape() == to.shape() && from.dtype() == to.dtype() {
            return Ok(());
        }
        Err(Error::Shape { op, reason: format!("{from:?} to {to:?}") })
    }
}

/// A run whose submission has begun.
enum Started<T> {
    /// All of it is submitted.
    Now(T),
    /// It is being submitted part by part.
    #[cfg(not(target_family = "wasm"))]
    InParts(Paced),
}

/// Waits until all parts of a run are done, and gives its last submission.
#[cfg(not(target_family = "wasm"))]
async fn all_of(parts: Paced) -> Result<Submitted> {
    parts.await.unwrap_or_else(|_| Err(Error::Device("the thread that submits has ended".to_owned())))
}

/// The results of a run.
enum Reading {
    OnItsWay(submission::ReadBack),
    #[cfg(feature = "processor")]
    There(Vec<Array>),
}

/// The memory of a tensor of the plan.
fn buffer_in<'tensor>(device: &Device, tensor: &'tensor Tensor) -> Result<&'tensor Buffer> {
    tensor.expect_on(device)?;
    tensor.storage().buffer.get().map(|buffer| buffer.get()).ok_or_else(|| Error::Shape {
        op: "run",
        reason: format!("{tensor:?} was not made an output when the plan was recorded"),
    })
}
