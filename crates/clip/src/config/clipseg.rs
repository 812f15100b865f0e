//! Configuration of the whole model.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::fields::{Fields, config_struct, wrong_type};
use super::validate::{MAX_EXTRACT_LAYERS, MAX_INTERMEDIATE, MAX_WIDTH, check_heads, check_size};
use super::{ClipSegTextConfig, ClipSegVisionConfig, Object, parse_object, read_model_config};
use crate::error::{Error, Result};

config_struct! {
    /// Configuration of a CLIPSeg: both towers, the projections that join them, and the decoder.
    pub struct ClipSegConfig {
        /// Kind of model, `clipseg`.
        pub model_type: String = "clipseg".to_owned(),
        /// The text tower.
        pub text_config: ClipSegTextConfig = ClipSegTextConfig::default(),
        /// The vision tower.
        pub vision_config: ClipSegVisionConfig = ClipSegVisionConfig::default(),
        /// Width of the space into which text and image are projected, and of the decoder's condition.
        pub projection_dim: usize = 512,
        /// Logarithm of the similarity's initial scale; the trained one is a tensor.
        pub logit_scale_init_value: f64 = 2.6592,
        /// Vision layers whose outputs the decoder reads, counted from 0; for negative ones see
        /// [`hidden_state`](ClipSegVisionConfig::hidden_state).
        pub extract_layers: Vec<isize> = vec![3, 6, 9],
        /// Width of the decoder.
        pub reduce_dim: usize = 64,
        /// Attention heads of a decoder layer; divides `reduce_dim`.
        pub decoder_num_attention_heads: usize = 4,
        /// Dropout of the decoder's attention in training; no effect on inference.
        pub decoder_attention_dropout: f64 = 0.0,
        /// Kept for completeness, whatever it names: transformers ignores it, the decoder's MLPs always use
        /// [`Activation::Relu`](super::Activation::Relu).
        pub decoder_hidden_act: String = "quick_gelu".to_owned(),
        /// Inner width of the decoder's MLPs.
        pub decoder_intermediate_size: usize = 2048,
        /// Step of the decoder in which FiLM applies the condition; step 0 reads the last of
        /// `extract_layers`. For negative values see [`conditional_step`](ClipSegConfig::conditional_step).
        pub conditional_layer: isize = 0,
        /// Whether the decoder ends in a convolution and two transposed convolutions instead of a single
        /// transposed convolution.
        pub use_complex_transposed_convolution: bool = false,
    }
}

impl ClipSegConfig {
    /// Reads a `config.json`, or the one in a folder, and checks its CLIP half.
    ///
    /// The decoder's half is checked by [`validate`](Self::validate): the config of a `CLIPSegModel`, which
    /// has no decoder, carries defaults there that need not fit its towers.
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

    /// As [`from_file`](Self::from_file), of a file with some settings only: the others, in the objects of
    /// the towers too, are those of `base`. null counts as missing.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_file_over(path: impl AsRef<Path>, base: &Self) -> Result<Self> {
        read_model_config(path.as_ref(), |object| {
            let mut whole = json!(base);
            lay_over(&mut whole, Value::Object(object));
            match whole {
                Value::Object(whole) => Self::from_object(whole),
                other => Err(wrong_type(&other, "the configuration", "an object {…}")),
            }
        })
    }

    /// A configuration of these two towers with defaults for the rest. To set other fields, write
    /// `ClipSegConfig { reduce_dim: 16, ..ClipSegConfig::from_text_vision_configs(text, vision) }`.
    pub fn from_text_vision_configs(
        text_config: ClipSegTextConfig,
        vision_config: ClipSegVisionConfig,
    ) -> Self {
        Self { text_config, vision_config, ..Self::default() }
    }

    fn from_object(object: Object) -> Result<Self> {
        let config = Self::parse(object)?;
        config.validate_clip()?;
        Ok(config)
    }

    /// Reads the fields without judging their values.
    pub(super) fn parse(mut object: Object) -> Result<Self> {
        merge_legacy(&mut object, "text_config", &ClipSegTextConfig::default())?;
        merge_legacy(&mut object, "vision_config", &ClipSegVisionConfig::default())?;
        let config = Self::from_fields(Fields::new(object, ""))?;
        match config.model_type.as_str() {
            "clipseg" | "clip" => Ok(config),
            "clipseg_text_model" | "clipseg_vision_model" => Err(Error::config(format!(
                "model_type = {:?}: this is one tower alone; a whole model of type \"clipseg\" is needed here",
                config.model_type
            ))),
            other => Err(Error::config(format!("model_type = {other:?}: expected \"clipseg\""))),
        }
    }

    /// Checks everything: the CLIP half as [`validate_clip`](Self::validate_clip) does, and the decoder.
    ///
    /// # Errors
    /// Names the first field with an impossible value, the value and the legal range.
    pub fn validate(&self) -> Result<()> {
        self.validate_clip()?;
        check_size("", "reduce_dim", self.reduce_dim, MAX_WIDTH)?;
        check_size("", "decoder_intermediate_size", self.decoder_intermediate_size, MAX_INTERMEDIATE)?;
        check_heads(
            "",
            ("decoder_num_attention_heads", self.decoder_num_attention_heads),
            ("reduce_dim", self.reduce_dim),
        )?;
        self.validate_extract_layers()?;
        if self.use_complex_transposed_convolution {
            self.validate_complex_convolution()?;
        }
        Ok(())
    }

    /// Checks what concerns CLIP: both towers and the width of their projections.
    ///
    /// # Errors
    /// Names the first field with an impossible value, the value and the legal range.
    pub fn validate_clip(&self) -> Result<()> {
        self.text_config.validate_as("text_config.")?;
        self.vision_config.validate_as("vision_config.")?;
        check_size("", "projection_dim", self.projection_dim, MAX_WIDTH)
    }

    fn validate_extract_layers(&self) -> Result<()> {
        let (extracted, layers) = (self.extract_layers.len(), self.vision_config.num_hidden_layers);
        if !(1..=MAX_EXTRACT_LAYERS).contains(&extracted) {
            return Err(Error::config(format!(
                "extract_layers lists {extracted} layers: must list 1 to {MAX_EXTRACT_LAYERS}"
            )));
        }
        if let Some(layer) =
            self.extract_layers.iter().find(|&&layer| self.vision_config.hidden_state(layer).is_none())
        {
            return Err(Error::config(format!(
                "extract_layers = {:?}: layer {layer} does not exist; vision_config.num_hidden_layers = {layers}, so \
                 they are 0 to {}, or counted from the end -2 to -{} (-1 is what enters layer 0)",
                self.extract_layers,
                layers - 1,
                layers + 1
            )));
        }
        if self.conditional_step().is_some_and(|step| step >= extracted) {
            return Err(Error::config(format!(
                "conditional_layer = {}: must be below the number of extract_layers, {extracted}",
                self.conditional_layer
            )));
        }
        Ok(())
    }

    /// The step of the decoder in which the condition enters, counted from 0.
    ///
    /// `None` where `conditional_layer` is negative. transformers compares it with each step's number; a
    /// negative one never matches, so the condition is not used and the masks are the same for every prompt,
    /// there as here.
    pub fn conditional_step(&self) -> Option<usize> {
        usize::try_from(self.conditional_layer).ok()
    }

    fn validate_complex_convolution(&self) -> Result<()> {
        if self.vision_config.patch_size < 4 {
            return Err(Error::config(format!(
                "vision_config.patch_size = {}: must be at least 4 with use_complex_transposed_convolution",
                self.vision_config.patch_size
            )));
        }
        if self.reduce_dim < 2 {
            return Err(Error::config(format!(
                "reduce_dim = {}: must be at least 2 with use_complex_transposed_convolution",
                self.reduce_dim
            )));
        }
        Ok(())
    }

    /// Width of one attention head of the decoder.
    pub fn decoder_head_dim(&self) -> usize {
        self.reduce_dim / self.decoder_num_attention_heads.max(1)
    }

    /// Kernel and stride, in grid cells, of each of the two transposed convolutions of the complex form:
    /// `patch_size / 4`, rounded down.
    pub fn complex_kernel(&self) -> usize {
        self.vision_config.patch_size / 4
    }

    /// Logits along one side of one patch: `patch_size`, or in the complex form `(patch_size / 4)²`. Only for
    /// a patch size of 16 are these the same.
    pub fn logits_per_patch(&self) -> usize {
        match self.use_complex_transposed_convolution {
            true => self.complex_kernel() * self.complex_kernel(),
            false => self.vision_config.patch_size,
        }
    }
}

/// Whether `object` describes a whole model rather than one tower.
pub(super) fn is_whole_model(object: &Object) -> bool {
    match object.get("model_type").and_then(Value::as_str) {
        Some("clipseg" | "clip") => true,
        // The type decides, whatever unknown keys are there too.
        Some("clipseg_text_model" | "clip_text_model" | "clipseg_vision_model" | "clip_vision_model") => {
            false
        }
        _ => object.contains_key("text_config") || object.contains_key("vision_config"),
    }
}

/// Puts the values of `upper` in place of those in `lower`, object by object.
fn lay_over(lower: &mut Value, upper: Value) {
    match (lower, upper) {
        (_, Value::Null) => {}
        (Value::Object(lower), Value::Object(upper)) => {
            for (name, value) in upper {
                lay_over(lower.entry(name).or_insert(Value::Null), value);
            }
        }
        (lower, upper) => *lower = upper,
    }
}

/// Merges `text_config_dict` into `text_config` (or likewise for vision), as transformers does for old files:
/// if it is present, it decides all known fields, by its values or by the defaults. From the newer object
/// only the unknown keys remain.
fn merge_legacy(object: &mut Object, name: &str, defaults: &impl Serialize) -> Result<()> {
    let legacy_name = format!("{name}_dict");
    let legacy = match object.remove(&legacy_name) {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(legacy)) => legacy,
        Some(other) => return Err(wrong_type(&other, &legacy_name, "an object {…} or null")),
    };
    let merged = object.entry(name).or_insert(Value::Null);
    if merged.is_null() {
        *merged = Value::Object(Object::new());
    }
    // A value that is not an object is left for the field's own reader to refuse.
    if let (Value::Object(merged), Value::Object(defaults)) = (merged, json!(defaults)) {
        merged.extend(defaults);
        merged.extend(legacy);
    }
    Ok(())
}
