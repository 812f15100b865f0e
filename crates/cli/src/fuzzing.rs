//! What the fuzz targets reach of the command; nothing else is to use it.

use std::path::Path;

use crate::eval::folder::DataFolder;

/// Reads the prompts of a data folder and, of at most `most` photos, all that they name. How many prompts
/// each of them has; an error is told as on stderr.
pub fn prompts(folder: &Path, most: usize) -> Result<Vec<usize>, String> {
    let told = |error: anyhow::Error| crate::report::describe(&error);
    let data = DataFolder::open(folder).map_err(told)?;
    let photos = 0..data.len().min(most);
    photos.map(|photo| Ok(data.example(photo).map_err(told)?.queries.len())).collect()
}
