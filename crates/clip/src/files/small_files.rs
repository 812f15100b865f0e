//! The small files of a checkpoint, in a folder or in memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{read_text, text_of};
use crate::error::{Error, Result};

/// The small files of a checkpoint.
pub(crate) enum SmallFiles<'a> {
    Folder(&'a Path),
    /// Bytes by name.
    Memory(HashMap<&'a str, &'a [u8]>),
}

impl SmallFiles<'_> {
    /// Whether there is such a file. One that cannot be looked for counts, as reading it says why.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => !matches!(folder.join(name).try_exists(), Ok(false)),
            Self::Memory(files) => files.contains_key(name),
        }
    }

    /// The path by which errors name a file.
    pub fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Memory(_) => name.into(),
        }
    }

    /// The text of a file, as by [`read_text`].
    pub fn read(&self, name: &str, hint: &str) -> Result<String> {
        let path = self.path(name);
        match self {
            Self::Folder(_) => read_text(&path, hint),
            Self::Memory(files) => match files.get(name) {
                Some(bytes) => text_of(&path, bytes.to_vec()),
                None => Err(Error::MissingFile { path, hint: hint.to_owned() }),
            },
        }
    }
}
