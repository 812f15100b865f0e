//! Reads photos from picture files.

use std::io::BufReader;
use std::path::Path;

use super::decode::{decode, dimensions};
use super::photo::check_size;
use super::{MAX_PIXELS, Photo};
use crate::error::{Error, Result};

/// Most bytes that a file may have: the most pixels with four channels of 16 bits, and metadata.
pub(super) const MAX_BYTES: u64 = MAX_PIXELS * 8 + (64 << 20);

/// How to treat the orientation that a camera wrote into the file, in its EXIF block. What XMP says of it is
/// not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// Turns the picture upright, as viewers show it.
    #[default]
    Apply,
    /// Takes the pixels as stored, as transformers does. TIFF files are turned upright nevertheless, because
    /// Pillow does so before transformers sees them.
    Ignore,
}

/// A picture and what else its file tells about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhotoFile {
    /// The picture.
    pub photo: Photo,
    /// Opacity of each pixel, from 0 (transparent) to 255, `[height, width]`; if the file has transparency.
    pub alpha: Option<Vec<u8>>,
    /// Whether the file has grey of more than 8 bits and some of it was clipped to 0 or 255, or colours of 16
    /// bits and nothing in their upper 8, which alone are kept: as Pillow and therefore transformers do. Such
    /// a picture may come out all white or black.
    pub is_clipped: bool,
    /// Whether the file stores the picture upright, and not to be turned by readers that heed the orientation
    /// that a camera wrote into it.
    pub is_upright: bool,
}

impl PhotoFile {
    /// Decodes the picture in a file. Beside the file and the picture, decoding takes at most 8 bytes per
    /// pixel and 64 MB.
    ///
    /// # Errors
    /// Where the file cannot be read, is not a picture of a known format or kind, is damaged, or is larger
    /// than [`MAX_PIXELS`].
    pub fn open(path: impl AsRef<Path>, orientation: Orientation) -> Result<Self> {
        let path = path.as_ref();
        let bytes = clipseg_files::read(path, MAX_BYTES).map_err(|source| Error::read(path, source))?;
        Self::from_bytes(&bytes, orientation).map_err(|error| error.in_file(path))
    }

    /// Decodes a picture from the bytes of a file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8], orientation: Orientation) -> Result<Self> {
        decode(bytes, orientation)
    }

    /// The columns and rows of the picture in a file, as it is stored: one that is then turned upright may
    /// have them exchanged. Pixels are not decoded, and of most formats only the file's head is read.
    ///
    /// # Errors
    /// Where the file cannot be read, is not a picture of a known format, or is larger than [`MAX_PIXELS`].
    pub fn stored_size(path: impl AsRef<Path>) -> Result<(usize, usize)> {
        let path = path.as_ref();
        let file = clipseg_files::open(path).map_err(|source| Error::read(path, source))?;
        let size = dimensions(BufReader::new(file)).and_then(|(width, height)| check_size(width, height));
        size.map_err(|error| error.in_file(path))
    }
}

impl Photo {
    /// Decodes the picture in a file; [`PhotoFile::open`] also returns its alpha and whether it was clipped.
    ///
    /// # Errors
    /// As [`PhotoFile::open`].
    pub fn open(path: impl AsRef<Path>, orientation: Orientation) -> Result<Self> {
        Ok(PhotoFile::open(path, orientation)?.photo)
    }

    /// Decodes a picture from the bytes of a file.
    ///
    /// # Errors
    /// As [`PhotoFile::open`].
    pub fn from_bytes(bytes: &[u8], orientation: Orientation) -> Result<Self> {
        Ok(PhotoFile::from_bytes(bytes, orientation)?.photo)
    }
}
