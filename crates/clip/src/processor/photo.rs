//! Photos as 8-bit RGB pixels.

use std::ops::Range;

use super::{Resample, resize::resize};
use crate::error::{Error, Result};

/// Most pixels that a picture may have: Pillow's limit against decompression bombs, small files that would
/// fill the memory.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Memory layout of a picture's pixels: one byte per channel, in the order given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Red, green, blue.
    Rgb8,
    /// Blue, green, red, as in OpenCV.
    Bgr8,
    /// Red, green, blue and an alpha that is ignored, as in Pillow: colours stay as they are. If alpha is
    /// premultiplied, divide by it first.
    Rgba8,
    /// As `Rgba8` with red and blue swapped, the order of many window systems and cameras.
    Bgra8,
    /// One value for red, green and blue.
    Gray8,
}

impl PixelFormat {
    /// Bytes per pixel.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Gray8 => 1,
            Self::Rgb8 | Self::Bgr8 => 3,
            Self::Rgba8 | Self::Bgra8 => 4,
        }
    }
}

/// A picture of 8-bit RGB pixels; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
}

impl Photo {
    /// A picture from packed RGB pixels: `rgb` is `[height, width, 3]`, row-major.
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

    /// A picture from pixels in another layout, row after row. Each row starts `row_bytes` after the previous
    /// one: `width` times [`PixelFormat::bytes`], or more if rows are padded, as when wgpu copies a texture
    /// to a buffer. The last row needs no padding. The pixels are copied once, to packed RGB.
    ///
    /// ```
    /// use clipseg_clip::{Photo, PixelFormat};
    ///
    /// // Two pixels, red and blue, in a row that is padded to 12 bytes.
    /// let frame = [0, 0, 255, 255, 255, 0, 0, 255, 0, 0, 0, 0];
    /// let photo = Photo::from_pixels(PixelFormat::Bgra8, 2, 1, &frame, 12)?;
    /// assert_eq!(photo.rgb(), [255, 0, 0, 0, 0, 255]);
    /// # Ok::<_, clipseg_clip::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Image`] where the picture is empty or larger than [`MAX_PIXELS`], a row does not fit into
    /// `row_bytes`, or `bytes` is too short for the picture.
    pub fn from_pixels(
        format: PixelFormat,
        width: usize,
        height: usize,
        bytes: &[u8],
        row_bytes: usize,
    ) -> Result<Self> {
        let row = width.checked_mul(format.bytes()).filter(|&row| row > 0 && row <= row_bytes);
        let whole = height.checked_sub(1).and_then(|above| above.checked_mul(row_bytes)?.checked_add(row?));
        let (Some(row), true) = (row, whole.is_some_and(|whole| whole <= bytes.len())) else {
            return Err(Error::image(format!(
                "{width} × {height} pixels of {format:?} need at least one pixel, {} bytes per row (row_bytes is {row_bytes}), and \
                 all of their rows in the {} bytes that are there",
                width.saturating_mul(format.bytes()),
                bytes.len()
            )));
        };
        check_size(width as u64, height as u64)?;
        let mut rgb = vec![0; 3 * width * height];
        for (to, from) in rgb.chunks_exact_mut(3 * width).zip(bytes.chunks(row_bytes)) {
            let (to, from) = (to.as_chunks_mut().0, &from[..row]);
            match format {
                PixelFormat::Rgb8 => repack(to, from, |&rgb| rgb),
                PixelFormat::Bgr8 => repack(to, from, |&[blue, green, red]| [red, green, blue]),
                PixelFormat::Rgba8 => repack(to, from, |&[red, green, blue, _]| [red, green, blue]),
                PixelFormat::Bgra8 => repack(to, from, |&[blue, green, red, _]| [red, green, blue]),
                PixelFormat::Gray8 => repack(to, from, |&[grey]| [grey; 3]),
            }
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

    /// Cuts out these columns and rows.
    ///
    /// # Panics
    /// If either range is empty or reaches beyond the picture, as slicing does.
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

/// Converts the pixels of one row.
fn repack<const N: usize>(to: &mut [[u8; 3]], from: &[u8], convert: impl Fn(&[u8; N]) -> [u8; 3]) {
    for (to, from) in to.iter_mut().zip(from.as_chunks().0) {
        *to = convert(from);
    }
}

/// Checks that a picture does not have too many pixels, and returns its sides.
pub(super) fn check_size(width: u64, height: u64) -> Result<(usize, usize)> {
    let pixels = width.saturating_mul(height);
    if pixels > MAX_PIXELS || width > u64::from(u32::MAX) || height > u64::from(u32::MAX) {
        return Err(Error::image(format!(
            "has {width} × {height} = {pixels} pixels, more than the {MAX_PIXELS} allowed; scale it down first"
        )));
    }
    Ok((width as usize, height as usize))
}
