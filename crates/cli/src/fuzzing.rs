//! The parts of the command that the fuzz targets call; nothing else should use them.

use std::path::Path;

use crate::eval::folder::DataFolder;

/// Reads the prompts of a data folder and, for the first `most` photos, all files that they name. Gives the
/// number of prompts of each of these photos, or the error as stderr would show it.
pub fn prompts(folder: &Path, most: usize) -> Result<Vec<usize>, String> {
    let told = |error: anyhow::Error| crate::report::describe(&error);
    let data = DataFolder::open(folder).map_err(told)?;
    let photos = 0..data.len().min(most);
    photos.map(|photo| Ok(data.example(photo).map_err(told)?.queries.len())).collect()
}
