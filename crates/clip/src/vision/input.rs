//! What the vision tower reads.

use crate::processor::{PixelBatch, PixelValues};
use crate::{Error, Result};

/// Normalised pixels, `[batch, channels, height, width]`.
#[derive(Clone, Copy, Debug)]
pub struct ImageInput<'a> {
    /// The values, row-major.
    pub pixel_values: &'a [f32],
    /// Number of images.
    pub batch: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl<'a> From<&'a PixelValues> for ImageInput<'a> {
    fn from(pixels: &'a PixelValues) -> Self {
        let PixelValues { values, height, width } = pixels;
        Self { pixel_values: values, batch: 1, height: *height, width: *width }
    }
}

impl<'a> From<&'a PixelBatch> for ImageInput<'a> {
    fn from(pixels: &'a PixelBatch) -> Self {
        let PixelBatch { values, batch, height, width } = pixels;
        Self { pixel_values: values, batch: *batch, height: *height, width: *width }
    }
}

impl ImageInput<'_> {
    /// Refuses values that are not so many images of `channels` channels.
    pub(super) fn check(self, channels: usize) -> Result<()> {
        let Self { pixel_values, batch, height, width } = self;
        let count = [batch, channels, height, width].into_iter().try_fold(1usize, usize::checked_mul);
        if count == Some(pixel_values.len()) && batch > 0 {
            return Ok(());
        }
        Err(Error::Input(format!(
            "pixel_values: {} values are not {batch} images of {channels} channels, {height} by {width}",
            pixel_values.len()
        )))
    }
}
