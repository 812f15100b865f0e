use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use clipseg_tensor::Array;

use crate::{Condition, Result};

/// A cache of the conditions of recent prompts. Programs ask for the same prompts on photo after photo, and
/// the text tower takes as long for 32 prompts as the vision tower for a third of a photo.
pub(crate) struct PromptCache {
    bound: usize,
    entries: Mutex<Entries>,
}

#[derive(Clone, Default)]
struct Entries {
    rows: HashMap<String, Entry>,
    /// Counts the calls.
    now: u64,
}

#[derive(Clone)]
struct Entry {
    row: Vec<f32>,
    /// The number of the call that last asked for it.
    used: u64,
}

impl Clone for PromptCache {
    fn clone(&self) -> Self {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { bound: self.bound, entries: Mutex::new(entries) }
    }
}

impl PromptCache {
    /// A cache of at most `bound` prompts.
    pub fn new(bound: usize) -> Self {
        Self { bound, entries: Mutex::default() }
    }

    /// The condition of `prompts`. Calls `encode` with those that the cache does not have, each once and all
    /// together.
    pub fn get_or_encode<S: AsRef<str>>(
        &self,
        prompts: &[S],
        encode: impl FnOnce(&[&str]) -> Result<Condition>,
    ) -> Result<Condition> {
        if prompts.is_empty() {
            return encode(&[]);
        }
        let mut missing: Vec<&str> = Vec::new();
        let mut known: HashMap<&str, Vec<f32>> = HashMap::new();
        {
            let entries = &mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.now += 1;
            for prompt in prompts.iter().map(S::as_ref) {
                if let Some(entry) = entries.rows.get_mut(prompt) {
                    entry.used = entries.now;
                    known.insert(prompt, entry.row.clone());
                } else if !missing.contains(&prompt) {
                    missing.push(prompt);
                }
            }
        }
        // Encode without the lock: threads whose prompts are known do not wait for the device.
        if !missing.is_empty() {
            let encoded = encode(&missing)?.embeddings;
            let rows = (0..missing.len()).map(|row| encoded.slice(row).to_vec());
            known.extend(missing.iter().copied().zip(rows));
            self.keep(&missing, &known);
        }
        let rows: Vec<&[f32]> = prompts.iter().map(|prompt| known[prompt.as_ref()].as_slice()).collect();
        let width = rows[0].len();
        Ok(Condition { embeddings: Array { shape: vec![rows.len(), width], values: rows.concat() } })
    }

    fn keep(&self, prompts: &[&str], rows: &HashMap<&str, Vec<f32>>) {
        let entries = &mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for &prompt in prompts.iter().take(self.bound) {
            if entries.rows.len() >= self.bound && !entries.rows.contains_key(prompt) {
                let oldest = entries.rows.iter().min_by_key(|(_, entry)| entry.used);
                let oldest = oldest.map(|(prompt, _)| prompt.clone());
                oldest.and_then(|prompt| entries.rows.remove(&prompt));
            }
            let entry = Entry { row: rows[prompt].clone(), used: entries.now };
            entries.rows.insert(prompt.to_owned(), entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prompt's length and its first letter; counts what was asked for.
    fn encode(asked: &mut Vec<String>, prompts: &[&str]) -> Condition {
        asked.extend(prompts.iter().map(|&prompt| prompt.to_owned()));
        let values = prompts.iter().flat_map(|prompt| [prompt.len() as f32, f32::from(prompt.as_bytes()[0])]);
        Condition { embeddings: Array { shape: vec![prompts.len(), 2], values: values.collect() } }
    }

    fn ask(cache: &PromptCache, prompts: &[&str]) -> Vec<String> {
        let mut asked = Vec::new();
        let condition = cache.get_or_encode(prompts, |missing| Ok(encode(&mut asked, missing))).unwrap();
        assert_eq!(condition, encode(&mut Vec::new(), prompts));
        asked
    }

    #[test]
    fn a_prompt_is_encoded_once() {
        let cache = PromptCache::new(10);
        assert_eq!(ask(&cache, &["cat", "mouse", "cat"]), ["cat", "mouse"]);
        assert_eq!(ask(&cache, &["a dog", "mouse"]), ["a dog"]);
        assert!(ask(&cache, &["mouse", "a dog", "cat", "cat"]).is_empty());
    }

    #[test]
    fn what_was_asked_for_longest_ago_goes_first() {
        let cache = PromptCache::new(2);
        ask(&cache, &["cat"]);
        ask(&cache, &["mouse"]);
        ask(&cache, &["cat"]);
        assert_eq!(ask(&cache, &["a dog"]), ["a dog"]);
        assert!(ask(&cache, &["cat"]).is_empty());
        assert_eq!(ask(&cache, &["mouse"]), ["mouse"]);
        assert_eq!(ask(&cache, &["one", "two", "three"]).len(), 3, "more at once than it keeps");
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache = PromptCache::new(2);
        let failing = |_: &[&str]| Err(crate::Error::Input("no".to_owned()));
        assert!(cache.get_or_encode(&["cat"], failing).is_err());
        assert_eq!(ask(&cache, &["cat"]), ["cat"]);
    }
}
