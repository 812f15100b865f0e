//! What a conversion will write, decided before any tensor is read or written.

use clipseg_clip::ClipSegConfig;

use crate::archive::Archive;
use crate::config::Assumed;
use crate::error::{Error, Result};
use crate::tensor::{StoredTensor, is_float};

/// Most numbers of expanded views that are written, all together. In a model such are biases of zeros and the
/// like; but views can repeat the numbers of a small file without end, and a configuration ask for as many.
const MOST_EXPANDED: usize = 1 << 24;

/// A tensor to be written, or a part of one, and the archive that it is in.
#[derive(Clone)]
pub(crate) struct Part<'a> {
    pub archive: &'a Archive,
    /// Its name in the archive, for messages.
    pub name: String,
    pub tensor: StoredTensor,
}

impl<'a> Part<'a> {
    pub(crate) fn new(archive: &'a Archive, name: &str, tensor: StoredTensor) -> Self {
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
    /// What neither the tensors nor the caller told of the configuration.
    pub assumed: Vec<Assumed>,
    pub config: ClipSegConfig,
}

impl Plan<'_> {
    /// Checks that the parts do not repeat the numbers of a small file without end.
    pub(crate) fn check_expanded(&self) -> Result<()> {
        let mut left = MOST_EXPANDED;
        for (_, part) in self.parts.iter().filter(|(_, part)| part.tensor.is_expanded()) {
            let Some(less) = left.checked_sub(part.tensor.len()) else {
                let (shape, stored) = (part.tensor.shape(), part.tensor.storage().length);
                let message = format!(
                    "is an expanded view: its shape is {shape:?}, and {stored} numbers are stored. Views of more than \
                     {MOST_EXPANDED} numbers are not written; re-save it with .contiguous()"
                );
                return Err(Error::tensor(part.archive.path(), &part.name, message));
            };
            left = less;
        }
        Ok(())
    }
}
