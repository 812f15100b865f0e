//! Reading the small files of a checkpoint folder.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};

/// Reads `path` as UTF-8; where it is missing, `hint` says what it is for.
pub(crate) fn read_text(path: &Path, hint: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::MissingFile { path: path.to_owned(), hint: hint.to_owned() },
        _ => Error::read(path, source),
    })
}
