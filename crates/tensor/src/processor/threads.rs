//! The processor's threads, and its clock.

use std::time::Instant;

/// Threads of its own: shared ones might be those that wait for a run, and take up another run that waits for the
/// first. None where the system gives no threads; then the caller's does all.
pub(crate) struct Threads(Option<rayon::ThreadPool>);

impl Threads {
    pub fn new() -> Self {
        let name = |index| format!("clipseg-{index}");
        let threads = rayon::ThreadPoolBuilder::new().thread_name(name).build();
        Self(threads.map_err(|error| log::warn!("one thread alone: {error}")).ok())
    }

    /// Runs `work` on the threads, and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some(threads) = &self.0 else { return work() };
        if rayon::current_thread_index().is_none() {
            return threads.install(work);
        }
        // On a thread of a pool, the caller's or this one, waiting means taking up other work of that pool; if
        // that asked the same plan for a run, it would wait for this one for ever. A thread of no pool just waits.
        std::thread::scope(|scope| match scope.spawn(|| threads.install(work)).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

/// What `work` gives, and the seconds that it took.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Option<f64>) {
    let start = Instant::now();
    let result = work();
    (result, Some(start.elapsed().as_secs_f64()))
}
