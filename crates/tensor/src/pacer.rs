//! Submits long work in short parts, one after the other, so that a host's frames fit in between.

use std::ops::Range;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::step::Step;
use crate::submitted::Submitted;
use crate::{Cost, Device, Error, Result};

/// Operations that take as long as reading or writing one byte: roughly the arithmetic intensity from which
/// on kernels no longer wait for memory.
const FLOPS_PER_BYTE: f64 = 10.0;

/// Seconds per operation that are assumed before anything was measured: those of a slow device, so that the
/// first submissions are too short rather than too long.
const FIRST_GUESS: f64 = 1e-10;

/// Submits command buffers to a device one at a time, each when the one before it is done.
pub(crate) struct Pacer {
    /// How long a submission may take.
    longest: Duration,
    /// Seconds per operation in the latest submissions.
    pace: Mutex<f64>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

/// A run in parts.
struct Job {
    device: Device,
    /// The parts, and the operations of each.
    parts: Vec<(wgpu::CommandBuffer, f64)>,
    done: oneshot::Sender<Result<Submitted>>,
}

/// Gives the last submission of a run when it is done. If it is dropped earlier, the parts that are not yet
/// submitted never are.
pub(crate) type Paced = oneshot::Receiver<Result<Submitted>>;

impl Pacer {
    pub fn new(longest: Duration) -> Self {
        Self { longest, pace: Mutex::new(FIRST_GUESS), jobs: Mutex::default() }
    }

    /// Divides `steps` into ranges, one per submission, and gives the operations of each. A range has as many
    /// steps as fit the time, and at least one.
    pub fn cut(&self, steps: &[Step]) -> Vec<(Range<usize>, f64)> {
        let pace = *self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        cut(steps.iter().map(operations), self.longest.as_secs_f64() / pace)
    }

    /// Submits `parts` in turn, behind those of earlier calls.
    pub fn submit(&self, device: &Device, parts: Vec<(wgpu::CommandBuffer, f64)>) -> Paced {
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

    /// Learns from a submission of `operations` that took `took`. The slowest of the recent submissions sets
    /// the pace, as kernels differ in how well they use a device and a host's own work may come in between. A
    /// fast submission lowers it by a fifth at most.
    fn note(&self, operations: f64, took: Duration) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        *pace = (took.as_secs_f64() / operations.max(1e6)).max(0.8 * *pace);
    }
}

impl Job {
    fn run(self) {
        let Self { device, parts, done } = self;
        let mut last = Err(Error::Device("a run without submissions".to_owned()));
        for (commands, operations) in parts {
            if done.is_canceled() {
                return;
            }
            last = submit(&device, commands, operations);
            if last.is_err() {
                break;
            }
        }
        // The receiver is gone only where nobody wants to know any more.
        let _ = done.send(last);
    }
}

fn submit(device: &Device, commands: wgpu::CommandBuffer, operations: f64) -> Result<Submitted> {
    let gpu = device.gpu()?;
    let start = Instant::now();
    let submission = device.guard(|| Ok(gpu.submit([commands])))?;
    gpu.wait_for(&submission)?;
    if let Some(pacer) = &gpu.pacer {
        pacer.note(operations, start.elapsed());
    }
    Ok(submission)
}

fn operations(step: &Step) -> f64 {
    let cost = match step {
        Step::Dispatch(dispatch) => dispatch.cost,
        Step::BufferToTexture { rows, columns, .. } | Step::TextureToBuffer { rows, columns, .. } => {
            Cost { flops: 0, bytes: 8 * u64::from(*rows) * u64::from(*columns) }
        }
    };
    cost.flops as f64 + FLOPS_PER_BYTE * cost.bytes as f64
}

/// Divides the items into consecutive ranges with sums of at most `most`, and gives each range with its sum.
/// A range has at least one item, which may be larger than that.
fn cut(all: impl Iterator<Item = f64>, most: f64) -> Vec<(Range<usize>, f64)> {
    let mut ranges: Vec<(Range<usize>, f64)> = vec![(0..0, 0.0)];
    for (place, one) in all.enumerate() {
        match ranges.last_mut() {
            Some((range, sum)) if range.start == range.end || *sum + one <= most => {
                range.end = place + 1;
                *sum += one;
            }
            _ => ranges.push((place..place + 1, one)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_large_as_may_be_and_never_empty() {
        let parts = |all: &[f64]| cut(all.iter().copied(), 10.0);
        assert_eq!(parts(&[]), [(0..0, 0.0)]);
        assert_eq!(parts(&[4.0, 6.0, 1.0]), [(0..2, 10.0), (2..3, 1.0)]);
        assert_eq!(parts(&[50.0, 1.0, 50.0]), [(0..1, 50.0), (1..2, 1.0), (2..3, 50.0)]);
    }

    #[test]
    fn the_slowest_of_late_decides() {
        let pacer = Pacer::new(Duration::from_millis(10));
        let pace = || *pacer.pace.lock().unwrap();
        pacer.note(1e9, Duration::from_secs(1));
        assert!((pace() - 1e-9).abs() < 1e-15);
        pacer.note(1e9, Duration::from_millis(1));
        assert!((pace() - 0.8e-9).abs() < 1e-15);
    }
}
