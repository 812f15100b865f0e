//! Finds the tokenizer's files, which a checkpoint may lack.

use std::path::Path;

use clipseg_clip::Tokenizer;
use clipseg_files::TOKENIZER_FILES;

use crate::MAX_TEXT;
use crate::error::{Error, Result};

/// Names and contents of the tokenizer's files: those in the folder `given`, or else those in `beside`, the
/// folder of the weights, which may have none.
pub(crate) fn find(given: Option<&Path>, beside: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let folder = match given {
        Some(folder) => folder,
        None if TOKENIZER_FILES[..3].iter().any(|name| beside.join(name).exists()) => beside,
        None => return Ok(Vec::new()),
    };
    // If the tokenizer is incomplete, or missing in the folder `given`, this fails and names the missing
    // file.
    Tokenizer::from_dir(folder)?;
    let present = TOKENIZER_FILES.into_iter().filter(|name| folder.join(name).exists());
    present
        .map(|name| {
            let path = folder.join(name);
            clipseg_files::read(&path, MAX_TEXT)
                .map(|bytes| (name, bytes))
                .map_err(|error| Error::read(&path, error))
        })
        .collect()
}
