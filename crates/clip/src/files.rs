//! Reads the small files of a checkpoint.

mod json;
#[cfg(feature = "tokenizer")]
mod small_files;

use std::io::ErrorKind;
use std::path::Path;

pub(crate) use self::json::parse_json;
#[cfg(feature = "tokenizer")]
pub(crate) use self::small_files::SmallFiles;
use crate::error::{Error, Result};
use crate::stand_in::StandIn;

/// Largest text file that is read. A vocabulary of a million tokens, the largest there is, has half as many
/// bytes.
const MOST_BYTES: u64 = 64 << 20;

/// Reads `path` as UTF-8, without the byte order mark. If the file is missing, the error gives `hint`, which
/// says what the file is for.
pub(crate) fn read_text(path: &Path, hint: &str) -> Result<String> {
    let bytes = clipseg_files::read(path, MOST_BYTES).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::MissingFile { path: path.to_owned(), hint: hint.to_owned() },
        _ => Error::read(path, source),
    })?;
    text_of(path, bytes)
}

fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String> {
    if let Some(stand_in) = StandIn::recognise(&bytes) {
        return Err(Error::StandIn { path: path.to_owned(), stand_in });
    }
    clipseg_files::text(bytes).map_err(|error| Error::read(path, error))
}
