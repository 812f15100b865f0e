//! How much of a device's memory is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Device;

/// Bytes of a device's memory that are in use, padding included. Parameters of plans, copies of outputs that outlive their
/// plans and what read-backs go through are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Weights and whatever else was uploaded.
    pub weights: u64,
    /// The arenas of the plans that are kept, [`Plan::arena_bytes`](crate::Plan::arena_bytes) of each.
    pub plans: u64,
}

/// Where a device counts them.
#[derive(Default)]
pub(crate) struct MemoryCount {
    weights: Arc<AtomicU64>,
    plans: Arc<AtomicU64>,
}

/// Bytes that are counted until this is dropped.
pub(crate) struct Counted {
    bytes: u64,
    total: Arc<AtomicU64>,
}

impl MemoryCount {
    pub fn weights(&self, bytes: u64) -> Counted {
        Counted::new(bytes, &self.weights)
    }

    pub fn plans(&self, bytes: u64) -> Counted {
        Counted::new(bytes, &self.plans)
    }
}

impl Counted {
    fn new(bytes: u64, total: &Arc<AtomicU64>) -> Self {
        total.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes, total: Arc::clone(total) }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Device {
    /// How much memory weights and plans on this device take at the moment.
    #[must_use]
    pub fn memory_use(&self) -> MemoryUse {
        let MemoryCount { weights, plans } = self.memory();
        MemoryUse { weights: weights.load(Ordering::Relaxed), plans: plans.load(Ordering::Relaxed) }
    }
}
