//! `config.json`: the sizes and choices with which a checkpoint was trained.
//!
//! Field names, defaults and meaning are those of transformers v4.37.2 (`configuration_clipseg.py`). Keys
//! that this crate does not know are kept in `extra` and written back by `to_json`.

mod clipseg;
pub(crate) mod fields;
mod text;
mod validate;
mod vision;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::clipseg::ClipSegConfig;
pub use self::text::ClipSegTextConfig;
pub(crate) use self::validate::MAX_IMAGE;
#[cfg(feature = "tokenizer")]
pub(crate) use self::validate::MAX_VOCABULARY;
pub use self::vision::ClipSegVisionConfig;
use crate::error::{Error, Result};
use crate::files::{parse_json, read_text};
use crate::stand_in::{StandIn, is_error};

/// Name of the configuration file in a checkpoint folder.
pub const CONFIG_FILE: &str = "config.json";

/// Non-linearity between the two linear layers of an MLP; the legal values of `hidden_act`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// `x · σ(1.702 x)`, OpenAI's approximation of GELU.
    QuickGelu,
    /// `x · Φ(x)`, with Φ by the error function.
    Gelu,
    /// `x · Φ(x)`, with Φ approximated by the hyperbolic tangent.
    GeluNew,
    /// `max(x, 0)`.
    Relu,
    /// The scaled exponential linear unit, as torch defines it.
    Selu,
}

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// Parses the JSON object in `text`.
pub(crate) fn parse_object(text: &str) -> Result<Object> {
    match parse_json(text) {
        Ok(Value::Object(object)) if is_error(&object) => Err(Error::StandIn {
            path: "config".into(),
            stand_in: StandIn::ErrorMessage(text.trim().to_owned()),
        }),
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::config("holds JSON, but not an object {…} of settings")),
        Err(error) => Err(Error::config(format!("is not valid JSON: {error}"))),
    }
}

/// Reads the file at `path` (a folder stands for the file `name` in it) and hands its object to `parse`.
/// Every error names the file; if the file is missing, the error gives `hint`, which says what the file is
/// for.
pub(crate) fn read_config<T>(
    path: &Path,
    name: &str,
    hint: &str,
    parse: impl FnOnce(Object) -> Result<T>,
) -> Result<T> {
    let path = if path.is_dir() { path.join(name) } else { path.to_owned() };
    let text = read_text(&path, hint)?;
    parse_object(&text).and_then(parse).map_err(|error| error.in_file(&path))
}

/// Reads the `config.json` at `path`, or in that folder.
fn read_model_config<T>(path: &Path, parse: impl FnOnce(Object) -> Result<T>) -> Result<T> {
    let hint = "a checkpoint folder holds the settings of its model there; download it with the weights";
    read_config(path, CONFIG_FILE, hint, parse)
}
