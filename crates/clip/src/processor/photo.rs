//! Photos as 8-bit RGB pixels.

use std::ops::Range;
use std::path::Path;

use super::decode::decode;
use super::{Resample, resize::resize};
use crate::error::{Error, Result};

/// Most pixels that a picture may have, Pillow's limit against decompression bombs: small files that would fill the
/// memory.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Most bytes that a file may have: the most pixels of four channels of 16 bits, and what is said of them.
const MAX_BYTES: u64 = MAX_PIXELS * 8 + (64 << 20);

/// What to do with the orientation that a camera wrote into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// Turn the picture upright, as viewers show it.
    #[default]
    Apply,
    /// Take the pixels as stored, as transformers does; but TIFFs turned upright, as Pillow gives them to it.
    Ignore,
}

/// A picture and what else its file says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhotoFile {
    /// The picture.
    pub photo: Photo,
    /// How opaque each pixel is, 0 (transparent) to 255, `[height, width]`; where the file has transparency.
    pub alpha: Option<Vec<u8>>,
    /// Whether the file holds grey of more than 8 bits, and some of it was cut off at 0 or 255, as Pillow and so
    /// transformers do: such a picture may come out white or black.
    pub is_clipped: bool,
}

/// A picture of 8-bit RGB pixels; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
}

impl PhotoFile {
    /// Decodes the picture in a file. While that goes on, it takes at most 8 bytes per pixel and 64 MB beside the file and
    /// the picture.
    ///
    /// # Errors
    /// Where the file cannot be read, is not a picture of a known format or kind, is damaged, or is larger than
    /// [`MAX_PIXELS`].
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
}

impl Photo {
    /// Decodes the picture in a file; [`PhotoFile::open`] tells more about it.
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

    /// A picture of pixels at hand: `rgb` is `[height, width, 3]`, row-major.
    ///
    /// # Errors
    /// Where the picture is empty, or `rgb` is not `width · height · 3` long.
    pub fn from_rgb(width: usize, height: usize, rgb: Vec<u8>) -> Result<Self> {
        let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
        if expected == Some(0) || expected != Some(rgb.len()) {
            return Err(Error::image(format!(
                "{width} × {height} pixels of RGB need {} bytes (and at least one pixel), {} are there",
                expected.map_or("too many".to_owned(), |bytes| bytes.to_string()),
                rgb.len()
            )));
        }
        Ok(Self { rgb, width, height })
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, `[height, width, 3]`, row-major.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The picture in another size (at least 1 × 1), equal to Pillow's `resize` bit for bit.
    pub fn resized(&self, width: usize, height: usize, resample: Resample) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let rgb = resize(&self.rgb, (self.width, self.height), (width, height), resample);
        Self { rgb, width, height }
    }

    /// The part of the picture in these columns and rows.
    ///
    /// # Panics
    /// When there is nothing in them, or they reach beyond the picture, as slices do.
    pub fn cropped(&self, columns: Range<usize>, rows: Range<usize>) -> Self {
        assert!(
            !columns.is_empty() && !rows.is_empty(),
            "columns {columns:?} and rows {rows:?} hold no pixel"
        );
        assert!(columns.end <= self.width, "columns {columns:?} of {}", self.width);
        let (width, height) = (columns.len(), rows.len());
        let row = |row: usize| &self.rgb[3 * (row * self.width + columns.start)..][..3 * width];
        Self { rgb: rows.flat_map(row).copied().collect(), width, height }
    }
}
