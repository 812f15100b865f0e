//! What a conversion will write, decided before any tensor is read or written.

use clipseg_clip::ClipSegConfig;

use crate::archive::TorchArchive;
use crate::error::{Error, Result};
use crate::tensor::{StoredTensor, is_float};

/// A tensor to be written, or a part of one, and the archive that it is in.
#[derive(Clone)]
pub(crate) struct Part<'a> {
    pub archive: &'a TorchArchive,
    /// Its name in the archive, for messages.
    pub name: String,
    pub tensor: StoredTensor,
}

impl<'a> Part<'a> {
    pub(crate) fn new(archive: &'a TorchArchive, name: &str, tensor: StoredTensor) -> Self {
        Self { archive, name: name.to_owned(), tensor }
    }

    /// Checks that the tensor can be a weight.
    pub(crate) fn check_weight(&self) -> Result<()> {
        let dtype = self.tensor.dtype();
        if is_float(dtype) {
            return Ok(());
        }
        let message = format!(
            "is stored as {dtype:?}, but weights are floating-point numbers; take the checkpoint as it was before \
             it was quantised or changed so"
        );
        Err(Error::tensor(self.archive.path(), &self.name, message))
    }
}

/// All tensors to be written, by transformers' names.
pub(crate) struct Plan<'a> {
    pub parts: Vec<(String, Part<'a>)>,
    /// Tensors of the source that no CLIPSeg needs.
    pub left_out: Vec<String>,
    pub config: ClipSegConfig,
}
