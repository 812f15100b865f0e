//! The error type of this crate.

use std::path::{Path, PathBuf};

use clipseg_files::shown;
use safetensors::Dtype;

use crate::stand_in::StandIn;

/// Result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a checkpoint folder, a prompt, a photo and the tensors made of them.
///
/// Each message names the file, tensor, field or prompt, says what is wrong with it and, where that is not
/// obvious, what to do next. For data from memory, `path` is the label that the caller gave.
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

    /// A file that the checkpoint folder must hold is not there.
    #[error("{} is missing: {hint}", path.display())]
    MissingFile {
        /// The file looked for.
        path: PathBuf,
        /// What the file is for and where it comes from.
        hint: String,
    },

    /// The file is something else than a checkpoint's file, usually because a download went wrong.
    #[error("{} {stand_in}", path.display())]
    StandIn {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        stand_in: StandIn,
    },

    /// A JSON file is malformed, or a value in it is of the wrong type or out of range.
    #[error("{origin}: {message}")]
    Config {
        /// The file, or `config` when the text came from elsewhere.
        origin: String,
        /// The field, its value, and what is legal.
        message: String,
    },

    /// A file of weights, or the index over its shards, contradicts itself.
    #[error("{}: {message}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },

    /// The checkpoint has no tensor of this name.
    #[error(
        "{}: tensor `{}` is missing (expected shape {expected:?}); the checkpoint does not fit its config.json \
         or is incomplete",
        path.display(), shown(name)
    )]
    MissingTensor {
        /// The checkpoint.
        path: PathBuf,
        /// Full name of the tensor.
        name: String,
        /// The shape that config.json implies.
        expected: Vec<usize>,
    },

    /// A tensor is there with another shape than the config implies.
    #[error("{}: tensor `{}` has shape {found:?}, but config.json implies {expected:?}", path.display(), shown(name))]
    TensorShape {
        /// The file that holds the tensor.
        path: PathBuf,
        /// Full name of the tensor.
        name: String,
        /// The shape that config.json implies.
        expected: Vec<usize>,
        /// The shape stored.
        found: Vec<usize>,
    },

    /// A tensor is stored in a type that weights cannot have.
    #[error("{}: tensor `{}` is stored as {found:?}; weights must be F32, F16, BF16 or F64: take the \
         checkpoint as it was before it was quantised", path.display(), shown(name))]
    TensorType {
        /// The file that holds the tensor.
        path: PathBuf,
        /// Full name of the tensor.
        name: String,
        /// The type stored.
        found: Dtype,
    },

    /// A tensor holds infinities or NaNs.
    #[error(
        "{}: tensor `{}` holds {value} at {position:?}; values that are not finite numbers: {count}. Either the \
         weights are damaged (download them again), or the training that made them diverged (take an earlier checkpoint)",
        path.display(), shown(name)
    )]
    NotFinite {
        /// The file that holds the tensor.
        path: PathBuf,
        /// Full name of the tensor.
        name: String,
        /// The first such value.
        value: f32,
        /// Its index in each dimension.
        position: Vec<usize>,
        /// How many there are.
        count: usize,
    },

    /// The tokenizer's files are malformed or do not fit each other.
    #[error("{}: {message}", path.display())]
    Tokenizer {
        /// The file, or the folder when the problem lies between files.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },

    /// A prompt has no text in it.
    #[error("prompt {} of {count} is empty: write what to look for, as in \"a cat\"", index + 1)]
    EmptyPrompt {
        /// Position of the prompt, from 0.
        index: usize,
        /// How many prompts there were.
        count: usize,
    },

    /// The tokenizer failed on a text.
    #[error("cannot tokenize {:?}: {message}", shown(text))]
    Tokenize {
        /// The text.
        text: String,
        /// The tokenizer's reason.
        message: String,
    },

    /// A picture could not be read, or is too large to be read safely.
    #[error("{origin}: {message}")]
    Image {
        /// The file, or `image` when the bytes came from elsewhere.
        origin: String,
        /// What is wrong and what would be accepted.
        message: String,
    },

    /// A file of conditions is malformed.
    #[error("{}: {message}", path.display())]
    Conditions {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },

    /// A file of an encoded image is malformed.
    #[error("{}: {message}", path.display())]
    SavedImage {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },

    /// Conditions or an encoded image were made by another model.
    #[error("{}: {message}", path.display())]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// What shows it.
        message: String,
    },

    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// The listener of [`Checkpoint::with_progress`](crate::Checkpoint::with_progress) cancelled the loading.
    #[error("loading was cancelled")]
    Cancelled,

    /// The model gave logits that are infinite or NaN.
    #[error(
        "the model's logits are not finite numbers: its weights are damaged (download them again), or the training \
         that made them diverged (take an earlier checkpoint), or 16 bits are too few for it (take precision f32)"
    )]
    LogitsNotFinite,

    /// Values were given that the model cannot take.
    #[error("{0}")]
    Input(String),

    /// The device refused or failed.
    #[error(transparent)]
    Device(#[from] clipseg_tensor::Error),
}

impl Error {
    /// A configuration error not yet tied to a file.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::Config { origin: "config".to_owned(), message: message.into() }
    }

    /// An image error not yet tied to a file.
    pub(crate) fn image(message: impl Into<String>) -> Self {
        Self::Image { origin: "image".to_owned(), message: message.into() }
    }

    /// Names the file that a configuration or image error came from; other errors stay as they are.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        let origin = path.display().to_string();
        match self {
            Self::Config { message, .. } => Self::Config { origin, message },
            Self::Image { message, .. } => Self::Image { origin, message },
            other => other,
        }
    }

    /// A failure to read `path`.
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    /// A file of weights that contradicts itself.
    pub(crate) fn checkpoint(path: &Path, message: impl Into<String>) -> Self {
        Self::Checkpoint { path: path.to_owned(), message: message.into() }
    }
}
