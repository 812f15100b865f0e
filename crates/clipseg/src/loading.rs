//! Loading the parts of a model at the same time.

/// Runs both functions at the same time, on two threads: reading and packing weights is work for the
/// processor, for which the device mostly waits.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn join<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        (first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), second)
    })
}

/// Runs both functions, one after the other: a browser has no threads to give.
#[cfg(target_family = "wasm")]
pub(crate) fn join<A, B>(first: impl FnOnce() -> A, second: impl FnOnce() -> B) -> (A, B) {
    (first(), second())
}
