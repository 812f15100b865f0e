//! Submits long work in short parts, one after the other, so that a host's frames fit in between.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::gpu::Submitted;
use crate::pipeline::Pipeline;
use crate::plan::{Part, blocks};
use crate::step::{Dispatch, Step};
use crate::{Device, Error, Result};

/// Operations that take as long as reading or writing one byte: roughly the arithmetic intensity from which
/// on kernels no longer wait for memory.
const FLOPS_PER_BYTE: f64 = 10.0;

/// Seconds per operation that are assumed of a kernel before it has run: those of a slow device, so that the
/// first submissions are too short rather than too long.
const FIRST_GUESS: f64 = 1e-10;

/// Seconds that a submission takes besides its work.
const OVERHEAD: f64 = 1e-4;

/// The factors by which one submission may change what is assumed of a kernel: a host's own work may have
/// come in between.
const LEAST_CHANGE: f64 = 0.8;
const MOST_CHANGE: f64 = 1.5;

/// Submits command buffers to a device one at a time, each when the one before it is done.
pub(crate) struct Pacer {
    /// How long a submission may take.
    longest: Duration,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

/// How long a pipeline's operations take, learned from submissions that it had a part in.
#[derive(Default)]
pub(crate) struct Pace(Mutex<Option<f64>>);

/// What a part has to do: the operations of each pipeline that it runs.
#[derive(Clone, Default)]
pub(crate) struct Load(Vec<(Arc<Pipeline>, f64)>);

/// A run in parts.
struct Job {
    device: Device,
    parts: Vec<(wgpu::CommandBuffer, Load)>,
    done: oneshot::Sender<Result<Submitted>>,
}

/// Gives the last submission of a run when it is done. If it is dropped earlier, the parts that are not yet
/// submitted never are.
pub(crate) type Paced = oneshot::Receiver<Result<Submitted>>;

impl Pacer {
    pub fn new(longest: Duration) -> Self {
        Self { longest, jobs: Mutex::default() }
    }

    /// Divides `steps` into parts, one per submission, and gives the load of each. A part takes the time that
    /// a submission may, as far as that is known; a step that cannot be cut may take longer.
    pub fn cut(&self, steps: &[Step]) -> Vec<(Part, Load)> {
        let lengths = steps.iter().map(|step| Length {
            seconds: Load::of(std::slice::from_ref(step)).seconds(),
            grid: step.dispatch().filter(|dispatch| dispatch.can_be_cut()).map(|dispatch| dispatch.grid),
        });
        let parts = cut(lengths, self.longest.as_secs_f64());
        let load = |part: &Part| match part {
            Part::Steps(range) => Load::of(&steps[range.clone()]),
            Part::Workgroups { step, block } => match steps[*step].dispatch() {
                Some(dispatch) => Load::of(&steps[*step..=*step]).times(block.share_of(dispatch.grid)),
                None => Load::default(),
            },
        };
        parts.into_iter().map(|part| (load(&part), part)).map(|(load, part)| (part, load)).collect()
    }

    /// Submits `parts` in turn, behind those of earlier calls.
    pub fn submit(&self, device: &Device, parts: Vec<(wgpu::CommandBuffer, Load)>) -> Paced {
        let (done, paced) = oneshot::channel();
        let job = Job { device: device.clone(), parts, done };
        if let Err(job) = self.hand_over(job) {
            // The system gives no thread, so this one submits.
            job.run();
        }
        paced
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

impl Job {
    fn run(self) {
        let Self { device, parts, done } = self;
        let mut last = Err(Error::Device("a run without submissions".to_owned()));
        for (commands, load) in parts {
            if done.is_canceled() {
                return;
            }
            last = submit(&device, commands, &load);
            if last.is_err() {
                break;
            }
        }
        // The receiver is gone only where nobody wants to know any more.
        let _ = done.send(last);
    }
}

fn submit(device: &Device, commands: wgpu::CommandBuffer, load: &Load) -> Result<Submitted> {
    let gpu = device.gpu()?;
    let start = Instant::now();
    let submission = device.guard(|| Ok(gpu.submit([commands])))?;
    gpu.wait_for(&submission)?;
    load.took(start.elapsed());
    Ok(submission)
}

impl Load {
    /// Of the dispatches among `steps`; copies are a trifle beside them.
    fn of(steps: &[Step]) -> Self {
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

    fn times(mut self, factor: f64) -> Self {
        self.0.iter_mut().for_each(|(_, operations)| *operations *= factor);
        self
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

/// A step's expected time, and its workgroups where it can be cut.
struct Length {
    seconds: f64,
    grid: Option<[u32; 3]>,
}

/// Divides steps into parts of at most `longest` seconds. A step that is longer is cut into blocks of
/// workgroups where it can be, and else a part of its own. There is always a part.
fn cut(steps: impl Iterator<Item = Length>, longest: f64) -> Vec<Part> {
    let mut parts = Vec::new();
    // The steps that the next part has so far, and their time.
    let mut open = 0..0;
    let mut filled = 0.0;
    for (step, Length { seconds, grid }) in steps.enumerate() {
        if !open.is_empty() && filled + seconds > longest {
            parts.push(Part::Steps(open));
            (open, filled) = (step..step, 0.0);
        }
        match grid.filter(|_| seconds > longest) {
            Some(grid) => {
                let workgroups: f64 = grid.iter().map(|&side| f64::from(side)).product();
                let most = (workgroups * longest / seconds) as u64;
                parts.extend(blocks(grid, most).into_iter().map(|block| Part::Workgroups { step, block }));
                (open, filled) = (step + 1..step + 1, 0.0);
            }
            None => {
                open.end = step + 1;
                filled += seconds;
            }
        }
    }
    if !open.is_empty() || parts.is_empty() {
        parts.push(Part::Steps(open));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Block;

    fn whole(seconds: f64) -> Length {
        Length { seconds, grid: None }
    }

    #[test]
    fn parts_are_as_long_as_may_be() {
        let parts = |steps: &[f64]| cut(steps.iter().copied().map(whole), 10.0);
        assert_eq!(parts(&[]), [Part::Steps(0..0)]);
        assert_eq!(parts(&[4.0, 6.0, 1.0]), [Part::Steps(0..2), Part::Steps(2..3)]);
        assert_eq!(parts(&[50.0, 1.0, 50.0]), [0..1, 1..2, 2..3].map(Part::Steps));
    }

    #[test]
    fn a_long_step_is_cut_where_it_can_be() {
        let long = Length { seconds: 40.0, grid: Some([2, 8, 1]) };
        let short = Length { seconds: 9.0, grid: Some([2, 8, 1]) };
        let parts = cut([whole(1.0), long, short, whole(1.0)].into_iter(), 10.0);
        let block = |y| Part::Workgroups { step: 1, block: Block { first: [0, y, 0], size: [2, 2, 1] } };
        assert_eq!(parts, [Part::Steps(0..1), block(0), block(2), block(4), block(6), Part::Steps(2..4)]);
    }

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
