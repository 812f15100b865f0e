//! Loading the parts of a model at the same time.

/// Runs both functions at the same time, on two threads: reading and packing weights is work for the
/// processor, for which the device mostly waits.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn join<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
    })
}

/// Runs both functions, one after the other: a browser has no threads to give.
#[cfg(target_family = "wasm")]
pub(crate) fn join<A, B>(one: impl FnOnce() -> A, other: impl FnOnce() -> B) -> (A, B) {
    (one(), other())
}
