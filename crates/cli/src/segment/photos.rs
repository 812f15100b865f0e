//! The photos to segment.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clipseg::{Photo, Processor, WindowPixels};

use super::Arguments;

/// What names of photos end with, as far as folders are searched for them.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// A photo that is read, and the model's view of it.
pub struct Opened {
    pub photo: Photo,
    pub pixels: WindowPixels,
}

/// Reads a photo.
pub fn open(path: &Path, arguments: &Arguments, processor: &Processor) -> Result<Opened> {
    let photo = arguments.reading.open(path)?;
    let pixels = arguments.resolution.cut(&photo, processor).with_context(|| path.display().to_string())?;
    Ok(Opened { photo, pixels })
}

/// The photos that were named, in place of each folder those in it, in the order of their names.
pub fn list(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut photos = Vec::new();
    for path in named {
        if path.is_dir() {
            photos.extend(in_folder(path).with_context(|| path.display().to_string())?);
        } else {
            photos.push(path.clone());
        }
    }
    Ok(photos)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut photos = entries.collect::<std::io::Result<Vec<_>>>()?;
    photos.retain(|path| {
        path.extension().and_then(|ending| ending.to_str()).is_some_and(is_ending) && path.is_file()
    });
    ensure!(
        !photos.is_empty(),
        "there is no photo in this folder (a file that ends in .{})",
        ENDINGS.join(", .")
    );
    photos.sort();
    Ok(photos)
}

fn is_ending(ending: &str) -> bool {
    ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}
