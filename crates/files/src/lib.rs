//! Handling of untrusted files that the other crates share.
//!
//! - Finds the files of a checkpoint by their names alone: in a folder, or in a repository of the Hugging
//!   Face Hub before anything is downloaded. If there are no usable weights, [`Lack`] says what there is
//!   instead and what to do.
//! - [`open`], [`read`] and [`starts_with`] refuse anything that is not a regular file or is too long;
//!   [`shown`], [`printable`] and [`quoted`] make names and paths, which may contain anything, safe to show.
//! - With the feature `temporary`, writes files that are either complete or absent.

use std::io;
use std::path::Path;

mod lack;
mod names;
mod read;
mod shell;
mod shown;
#[cfg(feature = "temporary")]
mod temporary;

pub use lack::{Lack, folder_within, merge_adapter};
pub use names::Names;
pub use read::{open, read, read_text, starts_with, text};
pub use shell::quoted;
pub use shown::{printable, shown};
#[cfg(feature = "temporary")]
pub use temporary::{Temporary, remove_unfinished};

/// All files that a checkpoint may have besides its weights; few checkpoints have all of them.
pub const SMALL_FILES: [&str; 9] = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    TOKENIZER_FILES[0],
    TOKENIZER_FILES[1],
    TOKENIZER_FILES[2],
    TOKENIZER_FILES[3],
    TOKENIZER_FILES[4],
    TOKENIZER_FILES[5],
];

/// The tokenizer's files. The first three hold its tokens.
pub const TOKENIZER_FILES: [&str; 6] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "added_tokens.json",
];

/// The form in which a checkpoint has its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `model.safetensors`, or the shards that `model.safetensors.index.json` lists; else a variant, such as
    /// `model.fp16.safetensors`.
    Safetensors,
    /// `pytorch_model.bin`, or the shards that `pytorch_model.bin.index.json` lists; else a variant.
    PyTorch,
}

/// The file to open for weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Its name.
    pub file: String,
    /// Whether it is an index, which lists the files that hold the weights.
    pub is_index: bool,
}

/// Variants in order of preference, the most exact first.
const VARIANTS: [&str; 3] = ["fp32", "fp16", "bf16"];

impl Form {
    /// The weights in this form among files of these names.
    ///
    /// # Errors
    /// Where there are none; says what there is instead.
    pub fn find(self, names: &Names) -> Result<Weights, Lack> {
        self.whole(names).or_else(|| self.variant(names)).ok_or_else(|| Lack::of(self, names))
    }

    /// The weights in this form in a folder; where there are none, the inner error is a sentence about the
    /// folder: `has no weights, …`.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn find_in(self, folder: &Path) -> io::Result<Result<Weights, String>> {
        // By name first: not all names of a large folder are read.
        if let Some(found) = self.whole_by(|file| is_file(&folder.join(file))) {
            return Ok(Ok(found));
        }
        let names = Names::of_folder(folder)?;
        Ok(self.find(&names).map_err(|lack| {
            let within = if is_file(&folder.join("config.json")) { None } else { folder_within(folder) };
            match within {
                Some(within) => within,
                None => lack.describe(&folder.display().to_string()),
            }
        }))
    }

    /// The file name of weights that are a single file.
    pub fn file(self) -> &'static str {
        match self {
            Self::Safetensors => "model.safetensors",
            Self::PyTorch => "pytorch_model.bin",
        }
    }

    /// The weights without a variant in their name.
    pub(crate) fn whole(self, names: &Names) -> Option<Weights> {
        self.whole_by(|file| names.has(file))
    }

    fn whole_by(self, has: impl Fn(&str) -> bool) -> Option<Weights> {
        let single = self.file().to_owned();
        let index = format!("{single}.index.json");
        let found = [(single, false), (index, true)].into_iter().find(|(file, _)| has(file));
        found.map(|(file, is_index)| Weights { file, is_index })
    }

    /// The weights of the best variant, or of the only one.
    pub(crate) fn variant(self, names: &Names) -> Option<Weights> {
        let mut variants = self.variants(names);
        if variants.len() > 1 {
            variants.retain(|(variant, _)| VARIANTS.contains(&variant.as_str()));
        }
        let rank = |variant: &str| VARIANTS.iter().position(|known| *known == variant);
        variants.into_iter().min_by_key(|(variant, _)| rank(variant)).map(|(_, weights)| weights)
    }

    /// All variants, each with its weights.
    pub(crate) fn variants(self, names: &Names) -> Vec<(String, Weights)> {
        let Some((stem, end)) = self.file().split_once('.') else { return Vec::new() };
        let ends = [
            (format!(".{end}"), false),
            // Some converters put the variant of an index here; transformers puts it after `index` (below).
            (format!(".{end}.index.json"), true),
        ];
        let index_start = format!("{stem}.{end}.index.");
        let found = names.iter().filter_map(|file| {
            let (variant, is_index) = match file.strip_prefix(&index_start) {
                Some(rest) => (rest.strip_suffix(".json")?, true),
                None => {
                    let rest = file.strip_prefix(stem)?.strip_prefix('.')?;
                    ends.iter()
                        .find_map(|(end, is_index)| Some((rest.strip_suffix(end.as_str())?, *is_index)))?
                }
            };
            // What looks like a variant may be the number of a shard.
            let is_variant = !variant.is_empty()
                && !variant.contains("-of-")
                && variant.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            let weights = Weights { file: file.to_owned(), is_index };
            is_variant.then(|| (variant.to_owned(), weights))
        });
        found.collect()
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Safetensors => Self::PyTorch,
            Self::PyTorch => Self::Safetensors,
        }
    }
}

/// Whether there is something that may be read as a file.
fn is_file(path: &Path) -> bool {
    path.exists() && !path.is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(form: Form, names: &[&str]) -> Result<Weights, Lack> {
        form.find(&names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn weights_are_found_whole_sharded_and_as_a_variant() {
        for (form, names, file, is_index) in [
            (Form::Safetensors, &["config.json", "model.safetensors"][..], "model.safetensors", false),
            (
                Form::Safetensors,
                &["model.safetensors", "model.safetensors.index.json"],
                "model.safetensors",
                false,
            ),
            (Form::Safetensors, &["model.safetensors.index.json"], "model.safetensors.index.json", true),
            (Form::Safetensors, &["model.fp16.safetensors", "model.safetensors"], "model.safetensors", false),
            (Form::Safetensors, &["model.fp16.safetensors"], "model.fp16.safetensors", false),
            (Form::Safetensors, &["model.ema.safetensors"], "model.ema.safetensors", false),
            (
                Form::Safetensors,
                &["model.bf16.safetensors", "model.ema.safetensors", "model.fp16.safetensors"],
                "model.fp16.safetensors",
                false,
            ),
            (
                Form::Safetensors,
                &["model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json"],
                "model.safetensors.index.fp16.json",
                true,
            ),
            (
                Form::Safetensors,
                &["model.fp16.safetensors.index.json"],
                "model.fp16.safetensors.index.json",
                true,
            ),
            (Form::PyTorch, &["model.safetensors", "pytorch_model.bin"], "pytorch_model.bin", false),
            (Form::PyTorch, &["pytorch_model.bin.index.json"], "pytorch_model.bin.index.json", true),
            (Form::PyTorch, &["pytorch_model.fp16.bin"], "pytorch_model.fp16.bin", false),
        ] {
            assert_eq!(find(form, names), Ok(Weights { file: file.to_owned(), is_index }), "{names:?}");
        }
    }

    /// A folder with photos and masks of many runs beside the weights. In which order a system lists them is
    /// its own affair.
    #[test]
    fn weights_are_found_among_any_number_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        write("pytorch_model.bin.index.json");
        (0..20_000).for_each(|number| write(&format!("{number}.png")));
        write("model.safetensors");
        let found = |form: Form| form.find_in(folder.path()).unwrap().unwrap().file;
        assert_eq!(found(Form::Safetensors), "model.safetensors");
        assert_eq!(found(Form::PyTorch), "pytorch_model.bin.index.json");
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        std::fs::create_dir(folder.path().join("model.safetensors")).unwrap();
        assert!(Form::Safetensors.find_in(folder.path()).unwrap().is_err(), "a folder is not a file");
    }

    #[test]
    fn what_is_not_weights_is_not_taken_for_them() {
        for names in [
            &[][..],
            &["model-00001-of-00002.safetensors"],
            &["model.fp16-00001-of-00002.safetensors"],
            &["adapter_model.safetensors"],
            &["model..safetensors"],
            &["sub/model.safetensors"],
            &["model.a.safetensors", "model.b.safetensors"],
            &["model.safetensors.index.json.bak", "model.onnx"],
        ] {
            assert!(find(Form::Safetensors, names).is_err(), "{names:?}");
        }
    }
}
