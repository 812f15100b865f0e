//! Submits long work in short parts, one after the other, so that a host's frames fit in between.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::host_memory::{HOSTS_MEMORY, of_this_instance};
use crate::part::{Cutter, Length, Part};
use crate::pipeline::Pipeline;
use crate::step::{Dispatch, Step};
use crate::submitted::Submitted;
use crate::{Device, Error, Result};

/// Operations that take as long as reading or writing one byte: roughly the arithmetic intensity from which
/// on kernels no longer wait for memory.
const FLOPS_PER_BYTE: f64 = 10.0;

/// Seconds per operation that are assumed of a kernel before it has run: those of a slow device, so that the
/// first submissions are too short rather than too long.
const FIRST_GUESS: f64 = 1e-10;

/// Seconds that a submission takes besides its work.
const OVERHEAD: f64 = 1e-4;

/// The factors by which one submission may change what is assumed of a kernel: others use the device and the
/// processor, too.
const LEAST_CHANGE: f64 = 0.8;
const MOST_CHANGE: f64 = 1.5;

/// The shortest that a submission is made: shorter ones would take longer to submit than to run.
const SHORTEST: Duration = Duration::from_micros(500);

/// Submits runs to a device in parts, one part at a time, each when the one before it is done.
pub(crate) struct Pacer {
    /// How long a submission may take.
    longest: Duration,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    unfinished: Arc<Unfinished>,
}

/// A run that is encoded part by part, when each one's turn comes.
pub(crate) trait Paceable: Send {
    fn device(&self) -> &Device;

    fn steps(&self) -> &[Step];

    /// The commands of a part of the steps; with the `first` part what precedes the steps, with the `last`
    /// what follows them.
    ///
    /// # Errors
    /// The device's.
    fn encode(&mut self, part: &Part, is_first: bool, is_last: bool) -> Result<wgpu::CommandBuffer>;
}

/// How long a pipeline's operations take, learned from submissions that it had a part in.
#[derive(Default)]
pub(crate) struct Pace(Mutex<Option<f64>>);

/// What a part has to do: the operations of each pipeline that it runs.
#[derive(Default)]
struct Load(Vec<(Arc<Pipeline>, f64)>);

/// A run in parts.
struct Job {
    run: Box<dyn Paceable>,
    longest: Duration,
    done: oneshot::Sender<Result<Submitted>>,
    _count: Counted,
}

/// The number of jobs that are not over.
#[derive(Default)]
struct Unfinished {
    count: Mutex<usize>,
    is_over: Condvar,
}

/// Counts a job until it is dropped.
struct Counted(Arc<Unfinished>);

/// Gives the last submission of a run when it is done. If it is dropped earlier, the parts that are not yet
/// submitted never are.
pub(crate) type Paced = oneshot::Receiver<Result<Submitted>>;

impl Pacer {
    pub fn new(longest: Duration) -> Self {
        Self { longest: longest.max(SHORTEST), jobs: Mutex::default(), unfinished: Arc::default() }
    }

    /// Submits `run` behind those of earlier calls.
    pub fn submit(&self, run: Box<dyn Paceable>) -> Paced {
        let (done, paced) = oneshot::channel();
        let job = Job { run, longest: self.longest, done, _count: Counted::new(&self.unfinished) };
        if let Err(job) = self.hand_over(job) {
            // The system gives no thread, so this one submits.
            job.run();
        }
        paced
    }

    /// Waits until all runs so far are over: between the parts of one nothing else may use its plan.
    pub fn finish(&self) {
        let count = self.unfinished.lock();
        drop(
            self.unfinished
                .is_over
                .wait_while(count, |count| *count > 0)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn hand_over(&self, job: Job) -> Result<(), Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.is_none() {
            let (new, receiver) = mpsc::channel::<Job>();
            let work = move || receiver.into_iter().for_each(Job::run);
            *jobs = thread::Builder::new().name("clipseg submits".to_owned()).spawn(work).ok().map(|_| new);
        }
        match &*jobs {
            Some(jobs) => jobs.send(job).map_err(|mpsc::SendError(job)| job),
            None => Err(job),
        }
    }
}

impl Unfinished {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn new(unfinished: &Arc<Unfinished>) -> Self {
        *unfinished.lock() += 1;
        Self(Arc::clone(unfinished))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.is_over.notify_all();
    }
}

impl Job {
    fn run(self) {
        let Self { mut run, longest, done, _count } = self;
        let mut cutter = Cutter::new(run.steps().len());
        let mut last = Err(Error::Device("a run without submissions".to_owned()));
        let mut is_first = true;
        while !cutter.is_through() {
            if done.is_canceled() {
                return;
            }
            let steps = run.steps();
            let Some(part) = cutter.next(longest.as_secs_f64(), |step| length(&steps[step])) else { break };
            let load = Load::of(steps, &part);
            last = encode(&mut *run, &part, is_first, cutter.is_through()).and_then(|commands| {
                let (submission, took) = submit(run.device(), commands)?;
                load.took(took);
                Ok(submission)
            });
            if last.is_err() {
                break;
            }
            is_first = false;
        }
        // What the run holds is free before its caller goes on.
        drop(run);
        // The receiver is gone only where nobody wants to know any more.
        let _ = done.send(last);
    }
}

/// The commands of a part. wgpu panics where a host's memory is of another instance.
fn encode(run: &mut dyn Paceable, part: &Part, is_first: bool, is_last: bool) -> Result<wgpu::CommandBuffer> {
    of_this_instance(HOSTS_MEMORY, || run.encode(part, is_first, is_last))
}

/// Submits `commands`, waits until they are done, and says how long they took. An empty submission goes
/// before them: when that is done, so is what others have submitted, which is none of this part's time.
fn submit(device: &Device, commands: wgpu::CommandBuffer) -> Result<(Submitted, Duration)> {
    let gpu = device.gpu()?;
    gpu.call_back()?;
    let (earlier, submission) = device.guard(|| Ok((gpu.mark(), gpu.submit([commands]))))?;
    gpu.wait_for(&earlier)?;
    let start = Instant::now();
    gpu.wait_for(&submission)?;
    Ok((submission, start.elapsed()))
}

fn length(step: &Step) -> Length {
    Length {
        seconds: Load::of_steps(std::slice::from_ref(step)).seconds(),
        grid: step.dispatch().filter(|dispatch| dispatch.can_be_cut()).map(|dispatch| dispatch.grid),
    }
}

impl Load {
    fn of(steps: &[Step], part: &Part) -> Self {
        match part {
            Part::Steps(range) => Self::of_steps(&steps[range.clone()]),
            Part::Workgroups { step, block } => {
                let mut load = Self::of_steps(&steps[*step..=*step]);
                if let Some(dispatch) = steps[*step].dispatch() {
                    let share = block.share_of(dispatch.grid);
                    load.0.iter_mut().for_each(|(_, operations)| *operations *= share);
                }
                load
            }
        }
    }

    /// Of the dispatches among `steps`; copies are a trifle beside them.
    fn of_steps(steps: &[Step]) -> Self {
        let mut load = Self::default();
        for Dispatch { pipeline, cost, .. } in steps.iter().filter_map(Step::dispatch) {
            let operations = cost.flops as f64 + FLOPS_PER_BYTE * cost.bytes as f64;
            match load.0.iter_mut().find(|(other, _)| Arc::ptr_eq(other, pipeline)) {
                Some((_, sum)) => *sum += operations,
                None => load.0.push((Arc::clone(pipeline), operations)),
            }
        }
        load
    }

    /// How long it is expected to take.
    fn seconds(&self) -> f64 {
        self.0.iter().map(|(pipeline, operations)| operations * pipeline.pace.seconds()).sum()
    }

    /// Learns from a submission of it that took `time`.
    fn took(&self, time: Duration) {
        let factor = time.as_secs_f64() / (OVERHEAD + self.seconds());
        let new = self.0.iter().filter(|(pipeline, _)| pipeline.pace.is_new()).count();
        if new == 0 {
            self.0.iter().for_each(|(pipeline, _)| pipeline.pace.change(factor));
        }
    }
}

impl Pace {
    fn lock(&self) -> MutexGuard<'_, Option<f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds per operation.
    fn seconds(&self) -> f64 {
        self.lock().unwrap_or(FIRST_GUESS)
    }

    /// Whether the pipeline has run for the first time, of which this is told once. Some drivers translate a
    /// kernel only then, so that this time says nothing.
    fn is_new(&self) -> bool {
        let mut pace = self.lock();
        let is_new = pace.is_none();
        pace.get_or_insert(FIRST_GUESS);
        is_new
    }

    fn change(&self, factor: f64) {
        if let Some(pace) = &mut *self.lock() {
            *pace *= factor.clamp(LEAST_CHANGE, MOST_CHANGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_learned_slowly_and_not_from_the_first_run() {
        let pace = Pace::default();
        assert!(pace.is_new());
        assert!(!pace.is_new());
        for (factor, expected) in [(1.2, 1.2), (100.0, 1.8), (0.0, 1.44)] {
            pace.change(factor);
            assert!((pace.seconds() / FIRST_GUESS - expected).abs() < 1e-9);
        }
    }
}
