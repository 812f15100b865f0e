//! Configuration of the vision tower.

use std::path::Path;

use serde_json::Value;

use super::fields::{FieldValue, Fields, OneOrEqual, config_struct, wrong_type};
use super::validate::{
    MAX_CHANNELS, MAX_IMAGE, MAX_INTERMEDIATE, MAX_LAYERS, MAX_POSITIONS, MAX_WIDTH, check_eps, check_heads,
    check_size,
};
use super::{Activation, ClipSegConfig, Object, clipseg, parse_object, read_model_config};
use crate::error::{Error, Result};

config_struct! {
    /// Configuration of the vision tower, `vision_config` of `config.json`.
    pub struct ClipSegVisionConfig {
        /// Kind of model, `clipseg_vision_model`.
        pub model_type: String = "clipseg_vision_model".to_owned(),
        /// Width of the hidden states.
        pub hidden_size: usize = 768,
        /// Inner width of the MLPs.
        pub intermediate_size: usize = 3072,
        /// Number of transformer layers.
        pub num_hidden_layers: usize = 12,
        /// Attention heads per layer; divides `hidden_size`.
        pub num_attention_heads: usize = 12,
        /// Channels of the image, 3 for RGB.
        pub num_channels: usize = 3,
        /// Side in pixels of the square image that the position embeddings were trained for.
        pub image_size: usize as OneOrEqual<usize> = 224,
        /// Side of a square patch in pixels.
        pub patch_size: usize as OneOrEqual<usize> = 32,
        /// Non-linearity of the MLPs.
        pub hidden_act: Activation = Activation::QuickGelu,
        /// Epsilon of the layer norms.
        pub layer_norm_eps: f64 = 1e-5,
        /// Dropout of the attention in training; no effect on inference.
        pub attention_dropout: f64 = 0.0,
        /// Standard deviation of the initial weights; no effect on inference.
        pub initializer_range: f64 = 0.02,
        /// Factor on the initial weights; no effect on inference.
        pub initializer_factor: f64 = 1.0,
    }
}

impl ClipSegVisionConfig {
    /// Reads a `config.json` (or the one in a folder): that of a single vision tower, or that of a whole
    /// CLIPSeg, from which `vision_config` is taken.
    ///
    /// # Errors
    /// Where the file is missing, is not JSON, is of another kind of model, or holds an impossible value.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        read_model_config(path.as_ref(), Self::from_object)
    }

    /// As [`from_file`](Self::from_file), from the file's text.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_object(parse_object(text)?)
    }

    fn from_object(object: Object) -> Result<Self> {
        let whole = clipseg::is_whole_model(&object);
        let (config, prefix) = match whole {
            true => (ClipSegConfig::parse(object)?.vision_config, "vision_config."),
            false => (Self::from_fields(Fields::new(object, ""))?, ""),
        };
        if !whole && !matches!(config.model_type.as_str(), "clipseg_vision_model" | "clip_vision_model") {
            return Err(Error::config(format!(
                "model_type = {:?}: expected \"clipseg_vision_model\" or a whole \"clipseg\"",
                config.model_type
            )));
        }
        config.validate_as(prefix)?;
        Ok(config)
    }

    /// Checks that the sizes are possible: none is zero or absurd, the heads divide the width, a patch fits
    /// into the image, and the epsilon is usable.
    ///
    /// # Errors
    /// Names the first field with an impossible value, the value and the legal range.
    pub fn validate(&self) -> Result<()> {
        self.validate_as("")
    }

    pub(super) fn validate_as(&self, prefix: &str) -> Result<()> {
        check_size(prefix, "hidden_size", self.hidden_size, MAX_WIDTH)?;
        check_size(prefix, "intermediate_size", self.intermediate_size, MAX_INTERMEDIATE)?;
        check_size(prefix, "num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        check_size(prefix, "num_channels", self.num_channels, MAX_CHANNELS)?;
        check_size(prefix, "image_size", self.image_size, MAX_IMAGE)?;
        check_size(prefix, "patch_size", self.patch_size, MAX_IMAGE)?;
        if self.patch_size > self.image_size {
            return Err(Error::config(format!(
                "{prefix}patch_size = {}: must not exceed image_size = {}",
                self.patch_size, self.image_size
            )));
        }
        if self.num_positions() > MAX_POSITIONS {
            return Err(Error::config(format!(
                "{prefix}patch_size = {}: with image_size = {} the image has {} positions, more than the \
                 {MAX_POSITIONS} supported",
                self.patch_size,
                self.image_size,
                self.num_positions()
            )));
        }
        check_heads(
            prefix,
            ("num_attention_heads", self.num_attention_heads),
            ("hidden_size", self.hidden_size),
        )?;
        check_eps(prefix, self.layer_norm_eps)
    }

    /// The index in `hidden_states` that an entry `layer` of `extract_layers` selects, by Python's list
    /// indexing: index 0 is the embeddings' output, index `i + 1` the output of layer `i`, and negative
    /// indices count from the end. So a `layer` of -1 selects the embeddings' output, -2 the last layer's.
    /// `None` if there is no such entry.
    pub fn hidden_state(&self, layer: isize) -> Option<usize> {
        let entries = self.num_hidden_layers.checked_add(1)?;
        let index = layer.checked_add(1)?;
        match usize::try_from(index) {
            Ok(entry) => (entry < entries).then_some(entry),
            Err(_) => entries.checked_sub(index.unsigned_abs()),
        }
    }

    /// Width of one attention head. Meaningful once [`validate`](Self::validate) has passed, like the methods
    /// below.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    /// Patches along one side of the trained image; a remainder narrower than a patch is dropped.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size.max(1)
    }

    /// Patches of the trained image, `grid²`.
    pub fn num_patches(&self) -> usize {
        self.grid() * self.grid()
    }

    /// Tokens of the trained image: the class token and the patches, `grid² + 1`.
    pub fn num_positions(&self) -> usize {
        self.num_patches() + 1
    }
}

impl FieldValue for ClipSegVisionConfig {
    fn from_value(value: Value, path: &str) -> Result<Self> {
        match value {
            Value::Object(object) => Self::from_fields(Fields::new(object, format!("{path}."))),
            other => Err(wrong_type(&other, path, "an object {…} or null")),
        }
    }
}
