//! [`threads`](super::threads) in a browser: a page has one thread, and the standard library no clock there.

/// No threads.
pub(crate) struct Threads;

impl Threads {
    pub fn new() -> Self {
        Self
    }

    /// Runs `work` on the caller's thread, so `work` need not be `Send`.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// The result of `work`; how long it took is not known.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Option<f64>) {
    (work(), None)
}
