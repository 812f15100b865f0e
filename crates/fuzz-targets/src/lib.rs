//! The fuzz targets: what each does with an arbitrary input.
//!
//! A target checks more than the absence of panics: what was accepted must be the same when written and read
//! again, and no input may allocate more memory than its length allows. The libFuzzer programs in `fuzz/`,
//! which `cargo xtask fuzz` runs, call the targets. `tests/replay.rs` calls them with every committed seed
//! and finding.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a target fails by panicking")]

mod archive;
mod checkpoint;
mod config;
mod hub;
mod masks;
mod memory;
mod photo;
mod pickle;
mod prompts;
mod tokenizer;

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// A function that is run with inputs, and how much memory that may take.
pub struct Target {
    /// Its name, and the name of its folders and its libFuzzer program.
    pub name: &'static str,
    /// Runs an input and returns whether it was accepted.
    run: fn(&[u8]) -> bool,
    /// Most bytes allocated at once: a fixed number, plus this number per byte of the input.
    memory: (usize, usize),
}

const MB: usize = 1 << 20;

/// A PyTorch file.
pub const ARCHIVE: Target = Target { name: "archive", run: archive::run, memory: (4 * MB, 100) };
/// A safetensors file, or an index of several.
pub const CHECKPOINT: Target = Target { name: "checkpoint", run: checkpoint::run, memory: (MB, 100) };
/// Settings of a model, a tower or a processor.
pub const CONFIG: Target = Target { name: "config", run: config::run, memory: (MB, 100) };
/// The answers of a server in the Hub's place.
pub const HUB: Target = Target { name: "hub", run: hub::run, memory: (8 * MB, 100) };
/// A mask, and text that may be run lengths.
pub const MASKS: Target = Target { name: "masks", run: masks::run, memory: (4 * MB, 100) };
/// A picture. A frame of a GIF that reaches beyond its picture may take 64 MB, and its indices a quarter
/// more; the rest is for the picture itself.
pub const PHOTO: Target = Target { name: "photo", run: photo::run, memory: (88 * MB, 100) };
/// The pickle in a PyTorch file.
pub const PICKLE: Target = Target { name: "pickle", run: pickle::run, memory: (4 * MB, 100) };
/// A data set's `prompts.jsonl`.
pub const PROMPTS: Target = Target { name: "prompts", run: prompts::run, memory: (4 * MB, 100) };
/// A tokenizer's files.
pub const TOKENIZER: Target = Target { name: "tokenizer", run: tokenizer::run, memory: (4 * MB, 200) };

/// All targets.
pub const TARGETS: [Target; 9] = [ARCHIVE, CHECKPOINT, CONFIG, HUB, MASKS, PHOTO, PICKLE, PROMPTS, TOKENIZER];

impl Target {
    /// Runs an input, and returns whether it was accepted.
    ///
    /// # Panics
    /// If the input finds a bug.
    pub fn run(&self, input: &[u8]) -> bool {
        let (accepted, peak) = memory::with_peak(|| (self.run)(input));
        let (fixed, each) = self.memory;
        let most = fixed + each * input.len();
        assert!(
            peak <= most,
            "{}: {peak} bytes of memory for an input of {}; at most {most} are allowed",
            self.name,
            input.len()
        );
        accepted
    }
}

/// A folder with these files, which is deleted when dropped.
fn folder<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (name, bytes) in files {
        let path: PathBuf = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).expect("a file in a temporary folder can be written");
    }
    folder
}

/// Checks that an error message is not empty, and not many times longer than the input. Returns false,
/// because the input was not accepted.
fn check_refusal(error: &impl Display, input: &[u8]) -> bool {
    let message = error.to_string();
    assert!(!message.trim().is_empty(), "an error without a message");
    assert!(message.len() <= 8192 + 8 * input.len(), "an error's message has {} bytes", message.len());
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic = "bytes of memory for an input of 3"]
    fn what_takes_too_much_memory_fails() {
        let run = |input: &[u8]| std::hint::black_box(vec![0_u8; 1000 + 11 * input.len()]).is_empty();
        Target { name: "greedy", run, memory: (1000, 10) }.run(b"abc");
    }
}
