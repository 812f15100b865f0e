use std::sync::{Arc, Mutex, PoisonError};

/// Recorded plans by shape, the latest used kept.
///
/// Plans hold an arena each, so their number is bounded: a stream of photos of many sizes must not fill the device.
pub struct PlanCache<K, P> {
    bound: usize,
    /// The latest used last.
    plans: Mutex<Vec<(K, Arc<P>)>>,
}

impl<K: PartialEq + Clone, P> PlanCache<K, P> {
    /// A cache of at most `bound` plans, and of one at least.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { bound: bound.max(1), plans: Mutex::default() }
    }

    /// The plan of `key`, recorded by `record` where it is not there. Others wait meanwhile, so that none is recorded twice.
    ///
    /// # Errors
    /// Those of `record`.
    pub fn get_or_record<E>(&self, key: &K, record: impl FnOnce() -> Result<P, E>) -> Result<Arc<P>, E> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = plans.iter().position(|(other, _)| other == key) {
            let found = plans.remove(place);
            let plan = Arc::clone(&found.1);
            plans.push(found);
            return Ok(plan);
        }
        let plan = Arc::new(record()?);
        if plans.len() >= self.bound {
            plans.remove(0);
        }
        plans.push((key.clone(), Arc::clone(&plan)));
        Ok(plan)
    }

    /// Calls `visit` with every plan that is kept.
    pub fn for_each(&self, mut visit: impl FnMut(&P)) {
        for (_, plan) in self.plans.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            visit(plan);
        }
    }
}
