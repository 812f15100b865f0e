//! Turns photos into the pixel values that the vision tower reads, as transformers' `ViTImageProcessor` does.

mod config;
mod config_file;
#[cfg(feature = "decode")]
pub(crate) mod decode;
mod filter;
mod on_device;
mod photo;
#[cfg(feature = "decode")]
mod photo_file;
mod resize;

use std::path::Path;

pub use self::config::{ImageSize, PreprocessorConfig};
pub use self::config_file::{PREPROCESSOR_FILE, PROCESSOR_FILE};
pub use self::filter::Resample;
pub use self::photo::{MAX_PIXELS, Photo, PixelFormat};
#[cfg(feature = "decode")]
pub use self::photo_file::{Orientation, PhotoFile};
use crate::error::{Error, Result};

/// Resizes, rescales and normalises photos.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Processor {
    config: PreprocessorConfig,
}

/// A normalised image, channels first.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelValues {
    /// The values, `[3, height, width]`, row-major.
    pub values: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Normalised images of one size, channels first.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelBatch {
    /// The values, `[batch, 3, height, width]`, row-major.
    pub values: Vec<f32>,
    /// Number of images.
    pub batch: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Processor {
    /// Reads the `preprocessor_config.json` in a checkpoint folder, or the `processor_config.json` that
    /// transformers 5 writes.
    ///
    /// # Errors
    /// As [`PreprocessorConfig::from_file`].
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { config: PreprocessorConfig::from_file(folder)? })
    }

    /// A processor with these settings.
    ///
    /// # Errors
    /// Where they ask for something impossible.
    pub fn new(config: PreprocessorConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }

    /// The settings.
    pub fn config(&self) -> &PreprocessorConfig {
        &self.config
    }

    /// The photo resized to what the model reads (aspect ratio not kept), still with 8 bits per channel,
    /// equal to Pillow's `resize` bit for bit. With `do_resize` off, the photo unchanged.
    pub fn resize(&self, photo: &Photo) -> Photo {
        match self.config.size {
            ImageSize::Sides { height, width } if self.config.do_resize => {
                photo.resized(width, height, self.config.resample)
            }
            // A valid config gives edges only where `do_resize` is off.
            ImageSize::Sides { .. } | ImageSize::Edges { .. } => photo.clone(),
        }
    }

    /// Resizes, rescales and normalises, which gives what transformers calls `pixel_values`.
    pub fn preprocess(&self, photo: &Photo) -> PixelValues {
        if !self.config.do_resize {
            return self.normalise(photo);
        }
        self.normalise(&self.resize(photo))
    }

    /// Several photos as one batch, each as [`preprocess`](Self::preprocess) makes it.
    ///
    /// # Errors
    /// [`Error::Input`] where there are no photos, or where they come out in different sizes because
    /// `do_resize` is off.
    pub fn preprocess_batch(&self, photos: &[Photo]) -> Result<PixelBatch> {
        let Some((first, rest)) = photos.split_first() else {
            return Err(Error::Input("there is no image to process".to_owned()));
        };
        let PixelValues { mut values, height, width } = self.preprocess(first);
        for (index, photo) in rest.iter().enumerate() {
            let pixels = self.preprocess(photo);
            if (pixels.height, pixels.width) != (height, width) {
                return Err(Error::Input(format!(
                    "image {} is {} by {} pixels and the first is {height} by {width}: images of a batch need one \
                     size; turn do_resize on, or process them one by one",
                    index + 2,
                    pixels.height,
                    pixels.width
                )));
            }
            values.extend(pixels.values);
        }
        Ok(PixelBatch { values, batch: photos.len(), height, width })
    }

    /// Rescales and normalises without resizing.
    pub fn normalise(&self, photo: &Photo) -> PixelValues {
        let (pixels, _) = photo.rgb().as_chunks::<3>();
        let mut values = Vec::with_capacity(3 * pixels.len());
        for channel in 0..3 {
            let value_of = self.config.value_of_byte(channel);
            values.extend(pixels.iter().map(|pixel| value_of[usize::from(pixel[channel])]));
        }
        PixelValues { values, height: photo.height(), width: photo.width() }
    }
}
