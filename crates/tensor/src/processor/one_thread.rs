//! [`threads`](super::threads) in a browser: a page has one thread, and the standard library no clock there.

/// None.
pub(crate) struct Threads;

impl Threads {
    pub fn new() -> Self {
        Self
    }

    /// Runs `work` on the caller's thread, which need not be able to send it.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// What `work` gives; how long it took is not known.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Option<f64>) {
    (work(), None)
}
