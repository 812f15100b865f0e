//! Errors of a conversion.

use std::path::{Path, PathBuf};

use clipseg_files::shown;

/// Result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each message names the file, tensor or setting, says what is wrong with it and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A file or folder could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A file is not what it should be, or contradicts itself.
    #[error("{} {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it is instead, and what to do.
        message: String,
    },

    /// A tensor is missing, has a shape that does not fit the others, or cannot be stored as asked.
    #[error("{}: tensor `{}` {message}", path.display(), shown(name))]
    Tensor {
        /// The file that holds the tensor, or should.
        path: PathBuf,
        /// Its name in that file.
        name: String,
        /// What is wrong, and what to do.
        message: String,
    },

    /// Parts of the request contradict each other.
    #[error("{0}")]
    Request(String),

    /// An error in the configuration or the tokenizer, or a stand-in for a file, as reported by the crate
    /// that reads them.
    #[error(transparent)]
    Clip(#[from] clipseg_clip::Error),
}

impl Error {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path, source: impl Into<std::io::Error>) -> Self {
        Self::Write { path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn stand_in(path: &Path, stand_in: clipseg_clip::StandIn) -> Self {
        Self::Clip(clipseg_clip::Error::StandIn { path: path.to_owned(), stand_in })
    }

    pub(crate) fn file(path: &Path, message: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), message: message.into() }
    }

    pub(crate) fn tensor(path: &Path, name: &str, message: impl Into<String>) -> Self {
        Self::Tensor { path: path.to_owned(), name: name.to_owned(), message: message.into() }
    }
}
