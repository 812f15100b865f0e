//! The processor's threads, and its clock.

use std::time::Instant;

/// A thread pool of its own. The threads of a shared pool might be waiting for a run, and meanwhile take up
/// another run, which waits for the first. `None` where the system gives no threads: then the caller's thread
/// does all the work.
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
        // A thread that belongs to a pool, this one or the caller's, takes up other work of its pool while it
        // waits. If that work asked the same plan for a run, it would wait for this run for ever. A thread
        // outside all pools just waits, so wait on one.
        std::thread::scope(|scope| match scope.spawn(|| threads.install(work)).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

/// The result of `work`, and the seconds that it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Option<f64>) {
    let start = Instant::now();
    let result = work();
    (result, Some(start.elapsed().as_secs_f64()))
}
