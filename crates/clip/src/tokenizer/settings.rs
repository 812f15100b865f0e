//! The settings in the files beside a vocabulary: special tokens, padding, the longest length.

use clipseg_files::shown;
use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::utils::truncation::TruncationDirection;

use super::PaddingSide;
use crate::config::MAX_VOCABULARY;
use crate::error::{Error, Result};
use crate::files::{SmallFiles, parse_json};

pub(super) const CONFIG_FILE: &str = "tokenizer_config.json";
pub(super) const SPECIAL_FILE: &str = "special_tokens_map.json";
pub(super) const ADDED_FILE: &str = "added_tokens.json";

/// Positions of OpenAI's text tower; the longest length if no file gives one.
const DEFAULT_LENGTH: usize = 77;
/// Largest length that is believed. Transformers writes 10³⁰ for "no limit known".
const MAX_LENGTH: f64 = 65_537.0;

/// The roles of special tokens, in the order in which transformers adds them.
pub(super) const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// The field with the special tokens that have no role.
const FURTHER: &str = "additional_special_tokens";

/// `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`, each null if missing.
pub(super) struct Settings {
    config: Value,
    special: Value,
    added: Value,
}

/// A token that is searched for in a prompt before the rest of it is encoded.
pub(super) struct Listed {
    pub token: AddedToken,
    pub id: u32,
    /// The file that lists it.
    pub file: &'static str,
}

/// A token that stands for something other than words of a prompt.
pub(super) struct Special {
    pub token: AddedToken,
    /// Whether a file names the token; otherwise it is CLIP's default.
    pub given: bool,
}

impl Settings {
    pub fn read(files: &SmallFiles<'_>) -> Result<Self> {
        let object = |name: &str| -> Result<Value> {
            if !files.has(name) {
                return Ok(Value::Null);
            }
            let path = files.path(name);
            match parse_json(&files.read(name, "")?) {
                Ok(value @ Value::Object(_)) => Ok(value),
                Ok(_) => Err(Error::Tokenizer { path, message: "is not a JSON object".to_owned() }),
                Err(error) => Err(Error::Tokenizer { path, message: format!("is not valid JSON: {error}") }),
            }
        };
        let config = object(CONFIG_FILE)?;
        // If the first file has this list, transformers reads neither of the others.
        if !config["added_tokens_decoder"].is_null() {
            return Ok(Self { config, special: Value::Null, added: Value::Null });
        }
        Ok(Self { config, special: object(SPECIAL_FILE)?, added: object(ADDED_FILE)? })
    }

    /// The tokens that the files list with their ids, sorted by id.
    pub fn listed(&self) -> Result<Vec<Listed>, String> {
        let mut listed = match (&self.config["added_tokens_decoder"], &self.added) {
            (Value::Null, Value::Null) => Vec::new(),
            (Value::Null, added) => self.listed_by_name(added)?,
            (decoder, _) => listed_by_id(decoder)?,
        };
        listed.sort_by_key(|listed| listed.id);
        Ok(listed)
    }

    /// Reads `added_tokens.json`, which gives each token its id.
    fn listed_by_name(&self, added: &Value) -> Result<Vec<Listed>, String> {
        let special: Vec<String> = self
            .special_tokens(|_, token| AddedToken::from(token, true))?
            .into_iter()
            .filter(|special| special.given)
            .map(|special| special.token.content)
            .collect();
        let entries = added.as_object().into_iter().flatten();
        entries
            .map(|(content, id)| {
                let number = id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| is_id(id));
                let id = number.ok_or_else(|| {
                    format!(
                        "{ADDED_FILE}: {:?} has the id {id}: must be a whole number below {MAX_VOCABULARY}",
                        shown(content)
                    )
                })?;
                let token = AddedToken::from(content.as_str(), special.contains(content));
                Ok(Listed { token, id, file: ADDED_FILE })
            })
            .collect()
    }

    /// The content of the token with this role, or CLIP's default.
    pub fn token(&self, role: &str) -> String {
        let default = if role == "bos_token" { "<|startoftext|>" } else { "<|endoftext|>" };
        self.given(role).and_then(content).unwrap_or(default).to_owned()
    }

    /// What the files say about a role.
    fn given(&self, name: &str) -> Option<&Value> {
        [&self.special[name], &self.config[name]].into_iter().find(|value| !value.is_null())
    }

    /// All special tokens. `plain` makes the token for a role whose file gives only a text.
    pub fn special_tokens(&self, plain: impl Fn(&str, String) -> AddedToken) -> Result<Vec<Special>, String> {
        let read = |role: &str, value: &Value| {
            let token = match value {
                Value::String(text) => Some(plain(role, text.clone())),
                // Tokens in `special_tokens_map.json` are special even where they do not say so.
                _ => added_token(value, !self.special[role].is_null()),
            };
            let token = token.ok_or_else(|| {
                format!("{role} = {value}: must be a text, or an object with the text as \"content\"")
            })?;
            Ok::<_, String>(Special { token, given: true })
        };
        let mut tokens = Vec::new();
        for role in ROLES {
            match self.given(role) {
                Some(value) => tokens.push(read(role, value)?),
                // CLIP's tokenizer has these four whatever the files say.
                None if matches!(role, "bos_token" | "eos_token" | "unk_token" | "pad_token") => {
                    tokens.push(Special { token: plain(role, self.token(role)), given: false });
                }
                None => {}
            }
        }
        for value in self.further()? {
            tokens.push(read(FURTHER, value)?);
        }
        Ok(tokens)
    }

    /// The special tokens that have no role: those of `tokenizer_config.json`, then those that
    /// `special_tokens_map.json` has besides. Where that says null, there are none.
    fn further(&self) -> Result<Vec<&Value>, String> {
        let mut further = Vec::new();
        if self.special.get(FURTHER).is_some_and(Value::is_null) {
            return Ok(further);
        }
        for file in [&self.config, &self.special] {
            match &file[FURTHER] {
                Value::Null => {}
                Value::Array(tokens) => {
                    for token in tokens {
                        if !further.contains(&token) {
                            further.push(token);
                        }
                    }
                }
                other => return Err(format!("{FURTHER} = {other}: must be a list of tokens")),
            }
        }
        Ok(further)
    }

    /// `model_max_length`, or `max_len`, its name in old releases; the default if both are missing or mean
    /// "unlimited".
    pub fn max_length(&self) -> usize {
        let length = self.config.get("model_max_length").unwrap_or(&self.config["max_len"]);
        match length.as_f64() {
            Some(length) if (0.0..=MAX_LENGTH).contains(&length) => length as usize,
            _ => DEFAULT_LENGTH,
        }
    }

    /// `padding_side`; where it is missing, whether `tokenizer.json` pads on the left.
    pub fn padding_side(&self, left: bool) -> Result<PaddingSide, String> {
        Ok(if self.is_left("padding_side", left)? { PaddingSide::Left } else { PaddingSide::Right })
    }

    /// `truncation_side`, on which a prompt that is too long loses tokens; where it is missing, whether
    /// `tokenizer.json` truncates on the left.
    pub fn truncation_side(&self, left: bool) -> Result<TruncationDirection, String> {
        let is_left = self.is_left("truncation_side", left)?;
        Ok(if is_left { TruncationDirection::Left } else { TruncationDirection::Right })
    }

    fn is_left(&self, name: &str, default: bool) -> Result<bool, String> {
        match &self.config[name] {
            Value::Null => Ok(default),
            Value::String(side) if side == "right" => Ok(false),
            Value::String(side) if side == "left" => Ok(true),
            other => Err(format!("{CONFIG_FILE}: {name} = {other}: must be \"right\" or \"left\"")),
        }
    }

    /// `clean_up_tokenization_spaces`.
    pub fn clean_up(&self) -> Result<bool, String> {
        match &self.config["clean_up_tokenization_spaces"] {
            Value::Null => Ok(true),
            Value::Bool(clean_up) => Ok(*clean_up),
            other => {
                Err(format!("{CONFIG_FILE}: clean_up_tokenization_spaces = {other}: must be true or false"))
            }
        }
    }
}

/// Reads `added_tokens_decoder`, which gives a token for each id; the ids are strings.
fn listed_by_id(decoder: &Value) -> Result<Vec<Listed>, String> {
    let name = "added_tokens_decoder";
    let Value::Object(entries) = decoder else {
        return Err(format!("{CONFIG_FILE}: {name} must be an object of ids and tokens"));
    };
    entries
        .iter()
        .map(|(id, value)| {
            let wrong = || {
                format!("{CONFIG_FILE}: {name}: {id:?}: {value}: must be a whole number below {MAX_VOCABULARY} and an object with \"content\"")
            };
            let id = id.parse().ok().filter(|&id| is_id(id)).ok_or_else(wrong)?;
            Ok(Listed { token: added_token(value, false).ok_or_else(wrong)?, id, file: CONFIG_FILE })
        })
        .collect()
}

/// Whether a vocabulary may have this id. The engine numbers further tokens on from the largest id, which
/// must therefore have a successor.
pub(super) fn is_id(id: u32) -> bool {
    (id as usize) < MAX_VOCABULARY
}

/// The text of a token, given as a string or as an object's `content`.
fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// A token given as an object, transformers' `AddedToken`, with the same defaults; only for `special` the
/// default is the parameter.
fn added_token(value: &Value, special: bool) -> Option<AddedToken> {
    let flag = |name: &str| value[name].as_bool();
    let special = flag("special").unwrap_or(special);
    Some(AddedToken {
        content: value.as_object()?.get("content")?.as_str()?.to_owned(),
        single_word: flag("single_word").unwrap_or(false),
        lstrip: flag("lstrip").unwrap_or(false),
        rstrip: flag("rstrip").unwrap_or(false),
        normalized: flag("normalized").unwrap_or(!special),
        special,
    })
}
