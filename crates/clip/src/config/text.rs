//! Configuration of the text tower.

use std::path::Path;

use serde_json::Value;

use super::fields::{FieldValue, Fields, OneOrEqual, config_struct, wrong_type};
use super::validate::{
    MAX_INTERMEDIATE, MAX_LAYERS, MAX_POSITIONS, MAX_VOCABULARY, MAX_WIDTH, check_eps, check_heads,
    check_size,
};
use super::{Activation, ClipSegConfig, Object, clipseg, parse_object, read_model_config};
use crate::error::{Error, Result};

config_struct! {
    /// Configuration of the text tower, `text_config` of `config.json`.
    pub struct ClipSegTextConfig {
        /// Kind of model, `clipseg_text_model`.
        pub model_type: String = "clipseg_text_model".to_owned(),
        /// Number of tokens that have an embedding.
        pub vocab_size: usize = 49408,
        /// Width of the hidden states.
        pub hidden_size: usize = 512,
        /// Inner width of the MLPs.
        pub intermediate_size: usize = 2048,
        /// Number of transformer layers.
        pub num_hidden_layers: usize = 12,
        /// Attention heads per layer; divides `hidden_size`.
        pub num_attention_heads: usize = 8,
        /// Longest sequence in tokens, start and end included.
        pub max_position_embeddings: usize = 77,
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
        /// Id of the padding token. Not used: the tokenizer's files decide which token pads.
        pub pad_token_id: Option<u32> = Some(1),
        /// Id of the start token. Not used: the tokenizer's files decide.
        pub bos_token_id: Option<u32> = Some(49406),
        /// Id of the end token, whose hidden state is the pooled output. Old checkpoints have 2 here, which
        /// means "the largest id in the text" instead.
        pub eos_token_id: u32 as OneOrEqual<u32> = 49407,
    }
}

impl ClipSegTextConfig {
    /// Reads a `config.json` (or the one in a folder): that of a single text tower, or that of a whole
    /// CLIPSeg, from which `text_config` is taken.
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
            true => (ClipSegConfig::parse(object)?.text_config, "text_config."),
            false => (Self::from_fields(Fields::new(object, ""))?, ""),
        };
        if !whole && !matches!(config.model_type.as_str(), "clipseg_text_model" | "clip_text_model") {
            return Err(Error::config(format!(
                "model_type = {:?}: expected \"clipseg_text_model\" or a whole \"clipseg\"",
                config.model_type
            )));
        }
        config.validate_as(prefix)?;
        Ok(config)
    }

    /// Checks that the sizes are possible: none is zero or absurd, the heads divide the width, and the
    /// epsilon is usable.
    ///
    /// # Errors
    /// Names the first field with an impossible value, the value and the legal range.
    pub fn validate(&self) -> Result<()> {
        self.validate_as("")
    }

    pub(super) fn validate_as(&self, prefix: &str) -> Result<()> {
        check_size(prefix, "vocab_size", self.vocab_size, MAX_VOCABULARY)?;
        check_size(prefix, "hidden_size", self.hidden_size, MAX_WIDTH)?;
        check_size(prefix, "intermediate_size", self.intermediate_size, MAX_INTERMEDIATE)?;
        check_size(prefix, "num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        check_size(prefix, "max_position_embeddings", self.max_position_embeddings, MAX_POSITIONS)?;
        check_heads(
            prefix,
            ("num_attention_heads", self.num_attention_heads),
            ("hidden_size", self.hidden_size),
        )?;
        check_eps(prefix, self.layer_norm_eps)
    }

    /// Width of one attention head. Meaningful once [`validate`](Self::validate) has passed.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }
}

impl FieldValue for ClipSegTextConfig {
    fn from_value(value: Value, path: &str) -> Result<Self> {
        match value {
            Value::Object(object) => Self::from_fields(Fields::new(object, format!("{path}."))),
            other => Err(wrong_type(&other, path, "an object {…} or null")),
        }
    }
}
