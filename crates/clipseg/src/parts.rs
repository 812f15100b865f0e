//! Decodes prompts in parts that fit into memory.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use clipseg_tensor::{Array, Device, MemoryUse};

use crate::{DeviceError, Error, Result};

/// Decides how many prompts of a kind are processed at once: all of them, unless memory is short.
pub(crate) struct Parts {
    device: Device,
    /// What the prompts are called in messages.
    what: &'static str,
    /// The most prompts at once. It falls when the device has no memory for them.
    most: AtomicUsize,
}

impl Parts {
    pub fn new(device: &Device, what: &'static str) -> Self {
        Self { device: device.clone(), what, most: AtomicUsize::new(usize::MAX) }
    }

    /// Begins work on `count` prompts, at most `limit` of them at once, and fewer where the memory `needed`
    /// for these is more than the budget leaves.
    pub fn of(
        &self,
        count: usize,
        limit: usize,
        needed: impl Fn(usize) -> Result<MemoryUse>,
    ) -> Result<InParts<'_>> {
        let at_once = self.fitting(count, limit, needed)?;
        Ok(InParts { parts: self, count, at_once, done: 0, is_halved: false, results: Array::default() })
    }

    /// How many prompts are processed at once, so that there are as few parts as possible, of one size.
    fn fitting(
        &self,
        count: usize,
        limit: usize,
        needed: impl Fn(usize) -> Result<MemoryUse>,
    ) -> Result<usize> {
        let mut most = count.min(limit).min(self.most.load(Ordering::Relaxed)).max(1);
        if let Some(budget) = self.device.memory_budget() {
            let MemoryUse { weights, encoded_images, .. } = self.device.memory_use();
            // The other half is for the plans of the steps before and after: they need not be recorded again
            // for each photo.
            let room = budget.saturating_sub(weights + encoded_images) / 2;
            most = largest(most, |count| Ok(needed(count)?.total() <= room))?;
        }
        Ok(evenly(count, most))
    }
}

/// Prompts that are processed in parts, with their results so far.
pub(crate) struct InParts<'a> {
    parts: &'a Parts,
    count: usize,
    at_once: usize,
    done: usize,
    is_halved: bool,
    results: Array,
}

impl InParts<'_> {
    /// The prompts of the next part, if there are any.
    pub fn next(&self) -> Option<Range<usize>> {
        (self.done < self.count).then(|| self.done..self.count.min(self.done + self.at_once))
    }

    /// Takes the results of the prompts that [`next`](Self::next) gave, one row per prompt. If the device had
    /// no memory for them, frees the plans that are kept for speed alone, and `next` gives half as many; that
    /// happens only once.
    pub fn take(&mut self, rows: Result<Array>) -> Result<()> {
        let Some(part) = self.next() else { return Ok(()) };
        match rows {
            Ok(rows) => {
                // Most often there is one part: its megabytes are not copied.
                if self.done == 0 {
                    self.results = rows;
                } else {
                    self.results.values.extend(rows.values);
                }
                self.done = part.end;
            }
            Err(Error::Device(error)) if error.is_out_of_memory() && !self.is_halved && part.len() > 1 => {
                self.is_halved = true;
                self.at_once = part.len().div_ceil(2);
                let Parts { device, what, most } = self.parts;
                most.fetch_min(self.at_once, Ordering::Relaxed);
                let (tried, at_once) = (part.len(), self.at_once);
                log::warn!("{what}: there is no memory for {tried} at once; going on with {at_once}");
                device.trim();
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// All rows.
    pub fn finish(mut self) -> Array {
        if let Some(rows) = self.results.shape.first_mut() {
            *rows = self.count;
        }
        self.results
    }
}

/// Makes a budget's error tell all the memory that the work needs, instead of the need at the first tensor
/// that did not fit.
pub(crate) fn say_need<T>(
    device: &Device,
    result: Result<T>,
    needed: impl FnOnce() -> Result<MemoryUse>,
) -> Result<T> {
    result.map_err(|error| match error {
        Error::Device(DeviceError::OverBudget { needed: met, budget }) => {
            let MemoryUse { weights, encoded_images, .. } = device.memory_use();
            let total = needed().map_or(0, |needed| weights + encoded_images + needed.total());
            DeviceError::OverBudget { needed: met.max(total), budget }.into()
        }
        error => error,
    })
}

/// The size of a part when `count` is divided into as few parts of at most `most` as possible, all of one
/// size but the last.
fn evenly(count: usize, most: usize) -> usize {
    count.div_ceil(count.div_ceil(most.max(1)).max(1))
}

/// The memory that `count` prompts need in parts of at most `most`, when the plans for both sizes of parts
/// are kept.
pub(crate) fn needed_in_parts(
    count: usize,
    most: usize,
    needed: impl Fn(usize) -> Result<MemoryUse>,
) -> Result<MemoryUse> {
    let at_once = evenly(count, most);
    let mut memory = needed(at_once)?;
    let last = count.checked_rem(at_once).unwrap_or(0);
    if last > 0 {
        memory.plans += needed(last)?.plans;
    }
    Ok(memory)
}

/// The largest number up to `most` that fits, found by bisection: every number below one that fits must fit
/// too. 1 where none does.
fn largest(most: usize, fits: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    if most <= 1 || fits(most)? {
        return Ok(most);
    }
    let (mut good, mut bad) = (1, most);
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        if fits(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use clipseg_tensor::DeviceOptions;

    use super::*;

    /// Processes `count` rows that hold their own numbers, where memory is short for parts of more than
    /// `most`. Gives the rows and the sizes of the parts that were tried.
    fn rows(parts: &Parts, count: usize, limit: usize, most: usize) -> (Result<Vec<f32>>, Vec<usize>) {
        let mut tried = Vec::new();
        let mut all = parts.of(count, limit, |_| Ok(MemoryUse::default())).unwrap();
        while let Some(part) = all.next() {
            tried.push(part.len());
            let rows = if part.len() > most {
                Err(DeviceError::OutOfMemory("on purpose".to_owned()).into())
            } else {
                let values: Vec<_> = part.map(|row| row as f32).collect();
                Ok(Array { shape: vec![values.len(), 1], values })
            };
            if let Err(error) = all.take(rows) {
                return (Err(error), tried);
            }
        }
        let array = all.finish();
        assert_eq!(array.shape, [count, 1]);
        (Ok(array.values), tried)
    }

    #[test]
    fn a_batch_is_halved_once_and_the_next_one_begins_so() {
        let device = Device::open(&DeviceOptions::default()).unwrap();
        let parts = Parts::new(&device, "prompts");
        let all: Vec<_> = (0..10).map(|row| row as f32).collect();
        let (values, tried) = rows(&parts, 10, 100, 5);
        assert_eq!((values.unwrap(), tried), (all.clone(), vec![10, 5, 5]));
        let (values, tried) = rows(&parts, 10, 4, 5);
        assert_eq!((values.unwrap(), tried), (all.clone(), vec![4, 4, 2]));
        let (values, tried) = rows(&parts, 10, 100, 5);
        assert_eq!((values.unwrap(), tried), (all, vec![5, 5]));
        let (values, tried) = rows(&parts, 10, 100, 1);
        assert!(matches!(values, Err(Error::Device(DeviceError::OutOfMemory(_)))));
        assert_eq!(tried, [5, 3]);
    }

    #[test]
    fn the_largest_number_that_fits_is_found() {
        for most in 0..20 {
            for limit in 0..25 {
                let found = largest(most, |count| Ok(count <= limit)).unwrap();
                assert_eq!(found, if most == 0 { 0 } else { most.min(limit).max(1) });
            }
        }
    }
}
