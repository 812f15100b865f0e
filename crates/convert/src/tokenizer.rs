//! The tokenizer's files, which weights come with or without.

use std::path::Path;

use clipseg_clip::Tokenizer;

use crate::MAX_TEXT;
use crate::error::{Error, Result};

const FILES: [&str; 6] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "added_tokens.json",
];

/// Names and contents of the tokenizer's files in the folder that was `given`, or else in `beside`, the weights' own,
/// which need not have any.
pub(crate) fn find(given: Option<&Path>, beside: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let folder = match given {
        Some(folder) => folder,
        None if FILES[..3].iter().any(|name| beside.join(name).exists()) => beside,
        None => return Ok(Vec::new()),
    };
    // Half a tokenizer, or none where one was named, is an error that names the missing file.
    Tokenizer::from_dir(folder)?;
    let present = FILES.into_iter().filter(|name| folder.join(name).exists());
    present
        .map(|name| {
            let path = folder.join(name);
            clipseg_files::read(&path, MAX_TEXT)
                .map(|bytes| (name, bytes))
                .map_err(|error| Error::read(&path, error))
        })
        .collect()
}
