//! How much of a device's memory is in use, and how much may be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{Device, Error, Result};

/// Bytes of a device's memory that are in use, padding included. Parameters of plans, kilobytes each, and
/// what the driver needs for itself are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Weights and whatever else was uploaded.
    pub weights: u64,
    /// The arenas of the plans that are kept, [`Plan::arena_bytes`](crate::Plan::arena_bytes) of each, and of
    /// recordings.
    pub plans: u64,
    /// Tensors that outlive their plans, such as encoded images, and the memory of dropped ones, kept for the
    /// next.
    pub encoded_images: u64,
    /// Staging buffers that results are read back through, kept for reuse.
    pub read_back: u64,
}

impl MemoryUse {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { weights, plans, encoded_images, read_back } = self;
        weights + plans + encoded_images + read_back
    }

    fn of(&mut self, kind: MemoryKind) -> &mut u64 {
        match kind {
            MemoryKind::Weights => &mut self.weights,
            MemoryKind::Plans => &mut self.plans,
            MemoryKind::EncodedImages => &mut self.encoded_images,
            MemoryKind::ReadBack => &mut self.read_back,
        }
    }
}

impl std::ops::AddAssign for MemoryUse {
    fn add_assign(&mut self, other: Self) {
        self.weights += other.weights;
        self.plans += other.plans;
        self.encoded_images += other.encoded_images;
        self.read_back += other.read_back;
    }
}

/// What memory is for: the fields of [`MemoryUse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryKind {
    Weights,
    Plans,
    EncodedImages,
    ReadBack,
}

/// A device's count of its memory. Clones share the count.
#[derive(Clone, Default)]
pub(crate) struct MemoryCount {
    used: Arc<Mutex<MemoryUse>>,
    budget: Option<u64>,
}

/// Bytes that are counted until this is dropped.
pub(crate) struct Counted {
    kind: MemoryKind,
    bytes: u64,
    count: MemoryCount,
}

impl MemoryCount {
    pub fn new(budget: Option<u64>) -> Self {
        Self { used: Arc::default(), budget }
    }

    pub fn used(&self) -> MutexGuard<'_, MemoryUse> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A count that starts at no bytes.
    pub fn nothing(&self, kind: MemoryKind) -> Counted {
        Counted { kind, bytes: 0, count: self.clone() }
    }

    /// Counts `bytes`.
    ///
    /// # Errors
    /// [`Error::OverBudget`] where there is no room for them.
    pub fn bytes(&self, kind: MemoryKind, bytes: u64) -> Result<Counted> {
        let mut counted = self.nothing(kind);
        counted.grow(bytes)?;
        Ok(counted)
    }
}

impl Counted {
    pub fn kind(&self) -> MemoryKind {
        self.kind
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts `bytes` more.
    ///
    /// # Errors
    /// [`Error::OverBudget`] where there is no room for them.
    pub fn grow(&mut self, bytes: u64) -> Result<()> {
        let mut used = self.count.used();
        let needed = used.total().saturating_add(bytes);
        if let Some(budget) = self.count.budget.filter(|&budget| needed > budget) {
            return Err(Error::OverBudget { needed, budget });
        }
        *used.of(self.kind) += bytes;
        drop(used);
        self.bytes += bytes;
        Ok(())
    }

    /// Counts `bytes` fewer.
    pub fn shrink(&mut self, bytes: u64) {
        *self.count.used().of(self.kind) -= bytes;
        self.bytes -= bytes;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// A cache of plans, all of which can be recorded again.
pub(crate) trait Forgetful: wgpu::WasmNotSendSync {
    /// Drops all plans but the `all_but` most recently used ones.
    fn forget(&self, all_but: usize);
}

/// The caches of plans on a device.
#[derive(Default)]
pub(crate) struct PlanCaches(Mutex<Vec<Weak<dyn Forgetful>>>);

impl PlanCaches {
    pub fn add(&self, cache: Weak<dyn Forgetful>) {
        let mut caches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(cache);
    }

    fn forget(&self, all_but: usize) {
        // Forget without the lock: dropping a plan may run any code.
        let caches = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        caches.iter().filter_map(Weak::upgrade).for_each(|cache| cache.forget(all_but));
    }
}

impl Device {
    /// How much memory is in use on this device at the moment.
    #[must_use]
    pub fn memory_use(&self) -> MemoryUse {
        *self.memory().used()
    }

    /// [`DeviceOptions::memory_budget`](crate::DeviceOptions::memory_budget).
    #[must_use]
    pub fn memory_budget(&self) -> Option<u64> {
        self.memory().budget
    }

    /// Frees what is kept for speed alone: the plans of all models on this device that are not running at the
    /// moment, the memory of dropped encoded images, and the buffers that results are read back through.
    /// Weights, encoded images and prompts stay; the next call records its plans anew, from kernels that are
    /// compiled already.
    pub fn trim(&self) {
        self.trim_all_but(0);
    }

    fn trim_all_but(&self, plans: usize) {
        self.plan_caches().forget(plans);
        self.recycled().lock().unwrap_or_else(PoisonError::into_inner).trim();
        self.trim_staging();
    }

    /// Runs `work`, which takes memory. Where the budget does not allow it, tries again after dropping all
    /// plans but the latest of each cache, and once more after dropping those too.
    pub(crate) fn make_room<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let mut result = work();
        for plans in [1, 0] {
            if !matches!(result, Err(Error::OverBudget { .. })) {
                break;
            }
            self.trim_all_but(plans);
            result = work();
        }
        result
    }
}
