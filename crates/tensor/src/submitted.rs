//! What is known of work that was handed to a queue.

#[cfg(not(target_family = "wasm"))]
use std::sync::Arc;
#[cfg(not(target_family = "wasm"))]
use std::sync::atomic::AtomicBool;

/// Work that was handed to the queue. A browser cannot wait for it.
#[derive(Clone)]
pub(crate) struct Submitted {
    #[cfg(not(target_family = "wasm"))]
    pub index: wgpu::SubmissionIndex,
    /// On a host's device, whether it is done.
    #[cfg(not(target_family = "wasm"))]
    pub is_done: Option<Arc<AtomicBool>>,
}
