//! The processor's settings.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Resample, config_file};
use crate::config::fields::{FieldValue, config_struct, wrong_type};
use crate::config::{MAX_IMAGE, Object, parse_object};
use crate::error::{Error, Result};

/// Size of a processed image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ImageSize {
    /// Both sides, whatever the photo's aspect ratio.
    Sides {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A bound on the edges. `ViTImageProcessor` reads it from a file but refuses to resize by it, so it is
    /// legal only where `do_resize` is off.
    Edges {
        /// The shorter side.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shortest_edge: Option<usize>,
        /// The most that the longer side may have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        longest_edge: Option<usize>,
    },
}

config_struct! {
    /// Settings of the processor, with the defaults of `ViTImageProcessor`. transformers uses that class for
    /// CLIPSeg whichever processor the file names.
    pub struct PreprocessorConfig {
        /// Whether to resize to `size`.
        pub do_resize: bool = true,
        /// Size to resize to. A file may give one number for a square, or a list of height and width.
        pub size: ImageSize = ImageSize::Sides { height: 224, width: 224 },
        /// Filter of the resize.
        pub resample: Resample = Resample::Bilinear,
        /// Whether to multiply bytes by `rescale_factor`.
        pub do_rescale: bool = true,
        /// Factor that brings bytes to the range that `image_mean` is meant for.
        pub rescale_factor: f64 = 1.0 / 255.0,
        /// Whether to subtract `image_mean` and divide by `image_std`.
        pub do_normalize: bool = true,
        /// Mean of red, green and blue. A file may give one number for all.
        pub image_mean: [f64; 3] = [0.5; 3],
        /// Standard deviation of red, green and blue. A file may give one number for all.
        pub image_std: [f64; 3] = [0.5; 3],
    }
}

impl PreprocessorConfig {
    /// Reads a `preprocessor_config.json`, or the one in a folder. If transformers 5 saved a
    /// `processor_config.json` instead, reads its `image_processor`.
    ///
    /// # Errors
    /// Where the file is missing, is not JSON, or asks for something impossible; where a folder has both
    /// files and their settings differ.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        config_file::read(path.as_ref())
    }

    /// As [`from_file`](Self::from_file), from the file's text.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_json(text: &str) -> Result<Self> {
        config_file::from_object(parse_object(text)?)
    }

    /// Whether `other` processes photos in the same way; unknown keys do not count.
    pub(super) fn prepares_as(&self, other: &Self) -> bool {
        let known = |config: &Self| Self { extra: Object::new(), ..config.clone() };
        known(self) == known(other)
    }

    /// Checks that sizes and numbers are usable: each byte must map to a finite f32.
    ///
    /// # Errors
    /// Names the first field with an unusable value, the value and what is legal.
    pub fn validate(&self) -> Result<()> {
        self.validate_as("")
    }

    pub(super) fn validate_as(&self, prefix: &str) -> Result<()> {
        self.validate_size(prefix)?;
        // The processor computes in f32, so the numbers count as rounded to that.
        let finite = |number: f64| (number as f32).is_finite();
        if !finite(self.rescale_factor * 255.0) {
            return Err(Error::config(format!(
                "{prefix}rescale_factor = {:e}: must be a number of the size of 1/255, as f32 can hold it",
                self.rescale_factor
            )));
        }
        if !self.image_mean.into_iter().all(finite) {
            return Err(Error::config(format!(
                "{prefix}image_mean = {:?}: must be numbers that f32 can hold",
                self.image_mean
            )));
        }
        if !self.image_std.iter().all(|&std| finite(std) && std as f32 != 0.0) {
            return Err(Error::config(format!(
                "{prefix}image_std = {:?}: must be numbers that f32 can hold, none of them zero in it",
                self.image_std
            )));
        }
        let infinite = (0..3).find(|&channel| {
            let values = self.value_of_byte(channel);
            !values[0].is_finite() || !values[255].is_finite()
        });
        if let Some(channel) = infinite {
            return Err(Error::config(format!(
                "{prefix}image_std = {:?}: with {prefix}rescale_factor = {:e} and {prefix}image_mean = {:?} the values \
                 of {} exceed what f32 can hold",
                self.image_std,
                self.rescale_factor,
                self.image_mean,
                ["red", "green", "blue"][channel]
            )));
        }
        Ok(())
    }

    /// The normalised value of each byte in `channel`, rounded where numpy rounds: the product with the
    /// factor is computed in f64 and stored as f32; mean and standard deviation are f32.
    pub(super) fn value_of_byte(&self, channel: usize) -> [f32; 256] {
        let (mean, std) = (self.image_mean[channel] as f32, self.image_std[channel] as f32);
        std::array::from_fn(|byte| {
            let value = match self.do_rescale {
                true => (byte as f64 * self.rescale_factor) as f32,
                false => byte as f32,
            };
            if self.do_normalize { (value - mean) / std } else { value }
        })
    }

    fn validate_size(&self, prefix: &str) -> Result<()> {
        let sides = match self.size {
            ImageSize::Sides { height, width } => [("height", Some(height)), ("width", Some(width))],
            ImageSize::Edges { .. } if self.do_resize => {
                return Err(Error::config(format!(
                    "{prefix}size: The `size` dictionary must contain the keys `height` and `width`; an edge alone is \
                     legal only with do_resize = false"
                )));
            }
            ImageSize::Edges { shortest_edge, longest_edge } => {
                [("shortest_edge", shortest_edge), ("longest_edge", longest_edge)]
            }
        };
        for (name, side) in sides {
            if let Some(side) = side.filter(|side| !(1..=MAX_IMAGE).contains(side)) {
                return Err(Error::config(format!(
                    "{prefix}size.{name} = {side}: must lie between 1 and {MAX_IMAGE}"
                )));
            }
        }
        Ok(())
    }
}

impl FieldValue for ImageSize {
    fn from_value(value: Value, path: &str) -> Result<Self> {
        let size = match &value {
            Value::Number(_) => {
                usize::deserialize(&value).ok().map(|side| Self::Sides { height: side, width: side })
            }
            Value::Array(_) => {
                <[usize; 2]>::deserialize(&value).ok().map(|[height, width]| Self::Sides { height, width })
            }
            Value::Object(object) => {
                // transformers 5 may write every kind of size, all but the chosen one as null.
                let given = object.iter().filter(|(_, size)| !size.is_null());
                let given: Object = given.map(|(name, size)| (name.clone(), size.clone())).collect();
                if given.is_empty() { None } else { Self::deserialize(Value::Object(given)).ok() }
            }
            _ => None,
        };
        size.ok_or_else(|| {
            let expected = "a whole number for a square, a list of height and width, or an object with \"height\" and \
                            \"width\" (or \"shortest_edge\" and \"longest_edge\")";
            wrong_type(&value, path, expected)
        })
    }
}

impl FieldValue for Resample {
    fn from_value(value: Value, path: &str) -> Result<Self> {
        Self::deserialize(&value).map_err(|_| {
            let expected =
                "Pillow's number of a filter: 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming";
            wrong_type(&value, path, expected)
        })
    }
}

/// One number per channel, or one for all three.
impl FieldValue for [f64; 3] {
    fn from_value(value: Value, path: &str) -> Result<Self> {
        let channels = match &value {
            Value::Number(number) => number.as_f64().map(|number| [number; 3]),
            _ => Self::deserialize(&value).ok(),
        };
        channels.ok_or_else(|| wrong_type(&value, path, "a number, or a list of three (red, green, blue)"))
    }
}
