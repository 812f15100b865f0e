//! `preprocessor_config.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Resample;
use crate::config::fields::{FieldValue, Fields, config_struct, wrong_type};
use crate::config::{MAX_IMAGE, Object, parse_object, read_config};
use crate::error::{Error, Result};

/// Name of the processor's settings in a checkpoint folder.
pub const PREPROCESSOR_FILE: &str = "preprocessor_config.json";

/// Size of a processed image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ImageSize {
    /// Both sides, whatever the photo's are.
    Sides {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A bound on the edges. `ViTImageProcessor` takes it from a file and refuses to resize by it, so it is legal
    /// only where `do_resize` is off.
    Edges {
        /// The shorter side.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shortest_edge: Option<usize>,
        /// The longer side at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        longest_edge: Option<usize>,
    },
}

config_struct! {
    /// Settings of the processor, with the defaults of `ViTImageProcessor`, which transformers uses for CLIPSeg
    /// whatever kind the file names.
    pub struct PreprocessorConfig {
        /// Whether to resize to `size`.
        pub do_resize: bool = true,
        /// Size to resize to. A file may give one number for a square, or a list of height and width.
        pub size: ImageSize = ImageSize::Sides { height: 224, width: 224 },
        /// Filter of the resize.
        pub resample: Resample = Resample::Bilinear,
        /// Whether to multiply bytes by `rescale_factor`.
        pub do_rescale: bool = true,
        /// What takes a byte to the range that `image_mean` is meant for.
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
    /// Reads a `preprocessor_config.json`, or the one in a folder.
    ///
    /// # Errors
    /// Where the file is missing, no JSON, or asks for something impossible.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let hint = "it says how photos are resized and normalised; download it with the checkpoint";
        read_config(path.as_ref(), PREPROCESSOR_FILE, hint, Self::from_object)
    }

    /// As [`from_file`](Self::from_file), from the file's text.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_object(parse_object(text)?)
    }

    fn from_object(object: Object) -> Result<Self> {
        let config = Self::from_fields(Fields::new(object, ""))?;
        config.validate()?;
        Ok(config)
    }

    /// Checks that sizes and numbers are usable.
    ///
    /// # Errors
    /// Naming the first field that is not, its value and what is legal.
    pub fn validate(&self) -> Result<()> {
        self.validate_size()?;
        if !self.rescale_factor.is_finite() {
            return Err(Error::config(format!("rescale_factor = {}: must be finite", self.rescale_factor)));
        }
        if self.image_mean.iter().any(|mean| !mean.is_finite()) {
            return Err(Error::config(format!("image_mean = {:?}: must be finite", self.image_mean)));
        }
        if self.image_std.iter().any(|&std| !std.is_finite() || std as f32 == 0.0) {
            return Err(Error::config(format!(
                "image_std = {:?}: must be finite and not zero",
                self.image_std
            )));
        }
        Ok(())
    }

    fn validate_size(&self) -> Result<()> {
        let sides = match self.size {
            ImageSize::Sides { height, width } => [("height", Some(height)), ("width", Some(width))],
            ImageSize::Edges { .. } if self.do_resize => {
                return Err(Error::config(
                    "size: The `size` dictionary must contain the keys `height` and `width`; an edge alone is legal \
                     only with do_resize = false",
                ));
            }
            ImageSize::Edges { shortest_edge, longest_edge } => {
                [("shortest_edge", shortest_edge), ("longest_edge", longest_edge)]
            }
        };
        for (name, side) in sides {
            if let Some(side) = side.filter(|side| !(1..=MAX_IMAGE).contains(side)) {
                return Err(Error::config(format!(
                    "size.{name} = {side}: must lie between 1 and {MAX_IMAGE}"
                )));
            }
        }
        Ok(())
    }
}

impl FieldValue for ImageSize {
    fn from_value(value: Value, path: &str) -> Result<Self> {
        let size = match &value {
            Value::Null => Some(PreprocessorConfig::default().size),
            Value::Number(_) => {
                usize::deserialize(&value).ok().map(|side| Self::Sides { height: side, width: side })
            }
            Value::Array(_) => {
                <[usize; 2]>::deserialize(&value).ok().map(|[height, width]| Self::Sides { height, width })
            }
            Value::Object(object) if !object.is_empty() => Self::deserialize(&value).ok(),
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
        match &value {
            Value::Null => Ok(Self::Bilinear),
            _ => Self::deserialize(&value).map_err(|_| {
                let expected =
                    "Pillow's number of a filter: 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming";
                wrong_type(&value, path, expected)
            }),
        }
    }
}

/// One number a channel, or one for all three; `null` gives the default of both mean and deviation.
impl FieldValue for [f64; 3] {
    fn from_value(value: Value, path: &str) -> Result<Self> {
        let channels = match &value {
            Value::Null => Some([0.5; 3]),
            Value::Number(number) => number.as_f64().map(|number| [number; 3]),
            _ => Self::deserialize(&value).ok(),
        };
        channels.ok_or_else(|| wrong_type(&value, path, "a number, or a list of three (red, green, blue)"))
    }
}
