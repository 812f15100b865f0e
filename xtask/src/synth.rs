//! `cargo xtask synth`: a checkpoint of a published architecture with numbers made up from a seed.
//!
//! It has the real thing's shapes, files and cost, and its numbers behave like a trained model's where that
//! matters for arithmetic (peaked attention, a few large channels), so that speed and exactness can be tested
//! at full size without a download. What it segments means nothing. `tools/fixtures/synth.py` writes the same
//! file, byte for byte.

mod layout;
mod numbers;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use safetensors::tensor::{Dtype, View, serialize_to_file};
use serde::Deserialize;

use layout::Config;
pub use numbers::{bits_of, checksum};

use crate::root;

/// The tokenizer is the real one: it is small, public, and every CLIPSeg checkpoint ships the same.
const TOKENIZER: &str = "fixtures/clip-tokenizer";

/// The seed to which the committed reference belongs.
const SEED: u64 = 0;

/// What `cargo xtask synth` takes.
#[derive(Args, Debug)]
pub struct SynthArguments {
    /// The architecture to imitate
    #[arg(long, value_enum, default_value_t = Preset::ClipsegRd64Refined)]
    pub preset: Preset,
    /// The directory to write the checkpoint to; it is made if needed
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Another seed gives other numbers; the committed reference belongs to seed 0
    #[arg(long, default_value_t = SEED)]
    pub seed: u64,
}

/// The architectures that can be imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `CIDAS/clipseg-rd64-refined`: ViT-B/16, 151 million parameters, complex transposed convolution
    ClipsegRd64Refined,
}

impl Preset {
    fn config(self) -> &'static str {
        match self {
            Self::ClipsegRd64Refined => include_str!("synth/clipseg-rd64-refined/config.json"),
        }
    }

    fn preprocessor_config(self) -> &'static str {
        match self {
            Self::ClipsegRd64Refined => include_str!("synth/clipseg-rd64-refined/preprocessor_config.json"),
        }
    }
}

/// Writes the checkpoint that the arguments ask for.
pub fn run(arguments: &SynthArguments) -> Result<()> {
    write_checkpoint(arguments.preset, arguments.seed, &arguments.out)?;
    println!("wrote {}", arguments.out.display());
    Ok(())
}

/// The checkpoint that was asked for, or else the one of the published size in `target/full`, which
/// `verify --full` uses too. It is made unless it is there.
pub fn given_or_full_size(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = given {
        return Ok(folder.to_owned());
    }
    let folder = root().join("target/full");
    if !folder.join("model.safetensors").exists() {
        println!("making a checkpoint of the published size in {}", folder.display());
        write_checkpoint(Preset::ClipsegRd64Refined, SEED, &folder)?;
    }
    Ok(folder)
}

/// Writes configuration, processor, tokenizer and weights to `directory`, the weights last: a directory that
/// has `model.safetensors` is complete.
pub fn write_checkpoint(preset: Preset, seed: u64, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    for (name, text) in
        [("config.json", preset.config()), ("preprocessor_config.json", preset.preprocessor_config())]
    {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for name in ["vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"] {
        let (from, to) = (root().join(TOKENIZER).join(name), directory.join(name));
        fs::copy(&from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    let path = directory.join("model.safetensors");
    write_weights(preset, seed, &path)
        .with_context(|| format!("cannot write {}; it needs 600 MB of disk", path.display()))
}

/// A tensor that is made when it is written, so that one at a time is in memory.
struct SynthTensor<'a> {
    name: String,
    shape: Vec<usize>,
    seed: u64,
    progress: &'a Progress,
}

impl View for SynthTensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let recipe = layout::recipe(&self.name, &self.shape);
        let bytes = recipe.bytes(self.seed, &self.name, self.shape.iter().product());
        self.progress.advance(bytes.len());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}

fn write_weights(preset: Preset, seed: u64, path: &Path) -> Result<()> {
    let config: Config = serde_json::from_str(preset.config())?;
    let progress = Progress::default();
    let tensors: Vec<_> = config
        .shapes()
        .into_iter()
        .map(|(name, shape)| (name.clone(), SynthTensor { name, shape, seed, progress: &progress }))
        .collect();
    progress.total.set(tensors.iter().map(|(_, tensor)| tensor.data_len()).sum());
    // transformers refuses a file that doesn't say which framework wrote it.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    // This writes to a temporary file beside `path` and renames it when it is complete.
    let result = serialize_to_file(tensors, Some(metadata), path);
    progress.finish();
    Ok(result?)
}

/// One line on the terminal that counts up; nothing when the output goes elsewhere.
#[derive(Default)]
struct Progress {
    done: Cell<usize>,
    total: Cell<usize>,
}

impl Progress {
    fn advance(&self, bytes: usize) {
        self.done.set(self.done.get() + bytes);
        if stderr().is_terminal() {
            let (done, total) = (self.done.get() / 1_000_000, self.total.get() / 1_000_000);
            eprint!("\rmaking the checkpoint: {done} of {total} MB");
            // A progress line that cannot be shown is not a reason to stop.
            let _ = stderr().flush();
        }
    }

    fn finish(&self) {
        if stderr().is_terminal() {
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests;
