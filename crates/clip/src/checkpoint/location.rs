//! Finds the file of a folder that has the weights.

use std::path::Path;

use clipseg_files::{Form, Weights};

use super::WEIGHTS_FILE;
use crate::error::{Error, Result};

/// The weights file in a folder, or the index of several. Where there is none, the error says what there is
/// instead.
pub(super) fn weights_file(folder: &Path) -> Result<Weights> {
    let found = Form::Safetensors.find_in(folder).map_err(|source| Error::read(folder, source))?;
    found.map_err(|hint| Error::MissingFile {
        path: folder.join(WEIGHTS_FILE),
        hint: format!("the folder {hint}"),
    })
}
