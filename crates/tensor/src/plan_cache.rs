use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};

use crate::device_id::DeviceId;
use crate::memory::Forgetful;
use crate::{Device, Recorder, commands};

/// Recorded plans by shape, of which the most recently used are kept.
///
/// Plans hold an arena each, so their number is bounded: a stream of photos of many sizes must not fill the
/// device.
pub struct PlanCache<K, P> {
    bound: usize,
    plans: Arc<Plans<K, P>>,
    /// The device, where it submits runs in parts.
    paced: Option<DeviceId>,
}

/// The most recently used plan is the last.
type Plans<K, P> = Mutex<Vec<(Key<K>, Slot<P>)>>;

#[derive(Clone, PartialEq)]
struct Key<K> {
    key: K,
    /// Whether the plan is for commands that a host submits, on a device that submits other runs in parts.
    /// The host may do so between two parts, so these commands have a plan of their own.
    is_hosts: bool,
}

/// A plan, or none yet. Its lock is held while it is recorded, so that threads that want the same plan wait
/// and others do not.
type Slot<P> = Arc<Mutex<Option<Arc<P>>>>;

impl<K: wgpu::WasmNotSendSync, P: wgpu::WasmNotSendSync> Forgetful for Plans<K, P> {
    fn forget(&self, all_but: usize) {
        let mut plans = self.lock().unwrap_or_else(PoisonError::into_inner);
        let count = plans.len().saturating_sub(all_but);
        // A plan that is being recorded frees nothing yet, and would be recorded again at each call.
        let is_recorded = |slot: &Slot<P>| !matches!(slot.try_lock(), Err(TryLockError::WouldBlock));
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for (key, slot) in plans.drain(..) {
            let list = if dropped.len() < count && is_recorded(&slot) { &mut dropped } else { &mut kept };
            list.push((key, slot));
        }
        *plans = kept;
        // The lock is released first, so that nobody waits for it while plans are dropped.
        drop((plans, dropped));
    }
}

impl<K, P> PlanCache<K, P>
where
    K: PartialEq + Clone + wgpu::WasmNotSendSync + 'static,
    P: wgpu::WasmNotSendSync + 'static,
{
    /// A cache of at most `bound` plans on `device`, and of one at least. [`Device::trim`] empties it.
    #[must_use]
    pub fn new(device: &Device, bound: usize) -> Self {
        let cache = Self { paced: device.is_paced().then(|| device.id()), ..Self::unknown(bound) };
        let plans = Arc::downgrade(&cache.plans);
        device.plan_caches().add(plans as Weak<dyn Forgetful>);
        cache
    }

    /// A cache that no device empties.
    fn unknown(bound: usize) -> Self {
        Self { bound: bound.max(1), plans: Arc::default(), paced: None }
    }

    fn key(&self, key: &K) -> Key<K> {
        Key { key: key.clone(), is_hosts: self.paced.is_some_and(commands::are_collected) }
    }

    /// The plan of `key`, recorded by `record` where the cache does not have it. Threads that ask for the
    /// same plan meanwhile wait for it, so that none is recorded twice. A failure is not kept: the next call
    /// tries again.
    ///
    /// # Errors
    /// Those of `record`.
    pub fn get_or_record<E>(&self, key: &K, record: impl FnOnce() -> Result<P, E>) -> Result<Arc<P>, E> {
        let slot = self.slot(key);
        let mut plan = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = &*plan {
            return Ok(Arc::clone(plan));
        }
        // Other threads may run the plan before the commands that this thread collects are submitted, so what
        // prepares the plan is submitted now.
        let _aside = commands::aside();
        let recorded = Arc::new(record()?);
        *plan = Some(Arc::clone(&recorded));
        Ok(recorded)
    }

    /// The slot of `key`, which becomes the latest used.
    fn slot(&self, key: &K) -> Slot<P> {
        let key = self.key(key);
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, slot) = match plans.iter().position(|(other, _)| *other == key) {
            Some(index) => plans.remove(index),
            None => {
                if plans.len() >= self.bound {
                    plans.remove(0);
                }
                (key, Slot::default())
            }
        };
        plans.push((key, Arc::clone(&slot)));
        slot
    }

    /// Whether the plan of `key` is kept: it is not where it is being recorded, or where that failed.
    pub fn has(&self, key: &K) -> bool {
        let key = self.key(key);
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = plans.iter().find(|(other, _)| *other == key);
        slot.is_some_and(|(_, slot)| slot.try_lock().is_ok_and(|plan| plan.is_some()))
    }

    /// Bytes of device memory that the plan of `key` would take: none where it is kept already, else those of
    /// what `record` records, for [planning](Recorder::planning).
    ///
    /// # Errors
    /// Those of `record`.
    pub fn bytes_needed<T, E>(
        &self,
        device: &Device,
        key: &K,
        record: impl FnOnce(&mut Recorder) -> Result<T, E>,
    ) -> Result<u64, E> {
        if self.has(key) {
            return Ok(0);
        }
        let mut recorder = Recorder::planning(device);
        let _tensors = record(&mut recorder)?;
        Ok(recorder.arena_bytes())
    }

    /// Calls `visit` with every plan that is kept.
    pub fn for_each(&self, mut visit: impl FnMut(&P)) {
        let slots: Vec<_> = {
            let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            plans.iter().map(|(_, slot)| Arc::clone(slot)).collect()
        };
        for slot in slots {
            if let Some(plan) = &*slot.lock().unwrap_or_else(PoisonError::into_inner) {
                visit(plan);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn who_has_a_plan_does_not_wait_for_another_to_be_recorded() {
        let cache = PlanCache::unknown(4);
        cache.get_or_record(&"there", || Ok::<_, ()>(1)).unwrap();
        let (is_recording, may_end) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            let recording = scope.spawn(|| {
                cache.get_or_record(&"new", || {
                    is_recording.wait();
                    may_end.wait();
                    Ok::<_, ()>(2)
                })
            });
            is_recording.wait();
            // With one lock for all plans this would wait for ever.
            assert_eq!(*cache.get_or_record(&"there", || Err("recorded twice")).unwrap(), 1);
            may_end.wait();
            assert_eq!(*recording.join().unwrap().unwrap(), 2);
        });
    }

    #[test]
    fn a_plan_that_failed_is_tried_again() {
        let cache = PlanCache::unknown(1);
        assert_eq!(cache.get_or_record(&0, || Err::<u8, _>("out of memory")).unwrap_err(), "out of memory");
        assert!(!cache.has(&0));
        assert_eq!(*cache.get_or_record(&0, || Ok::<_, ()>(5)).unwrap(), 5);
        assert_eq!(*cache.get_or_record(&0, || Err("recorded twice")).unwrap(), 5);
    }

    // Under a tight budget, recording a plan frees the others.
    #[test]
    fn a_plan_that_is_being_recorded_is_not_forgotten() {
        let cache = PlanCache::unknown(4);
        cache.get_or_record(&1, || Ok::<_, ()>(1)).unwrap();
        let recorded = cache.get_or_record(&2, || {
            cache.plans.forget(0);
            assert!(!cache.has(&1));
            Ok::<_, ()>(2)
        });
        assert_eq!(*recorded.unwrap(), 2);
        assert_eq!(*cache.get_or_record(&2, || Err("recorded twice")).unwrap(), 2);
        cache.plans.forget(0);
        assert!(!cache.has(&2));
    }

    #[test]
    fn the_plan_that_was_used_longest_ago_goes() {
        let cache = PlanCache::unknown(2);
        for key in [1, 2, 1, 3] {
            cache.get_or_record(&key, || Ok::<_, ()>(key)).unwrap();
        }
        let mut kept = Vec::new();
        cache.for_each(|&plan| kept.push(plan));
        assert_eq!(kept, [1, 3]);
    }
}
