use std::fmt::Debug;

use clipseg_clip::{ClipSegConfig, ClipSegTextConfig, ClipSegVisionConfig, PreprocessorConfig, Result};

use crate::check_refusal;

/// Reads the text as each kind of settings; those that are accepted must be the same when written and read
/// again.
pub fn run(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let model = same_again(text, ClipSegConfig::from_json, ClipSegConfig::to_json);
    // Reading does not check the decoder's half.
    if let Some(config) = model.as_ref().filter(|config| config.validate().is_ok()) {
        assert!(config.conditional_step().is_none_or(|step| step < config.extract_layers.len()));
        assert!(config.logits_per_patch() > 0 && config.decoder_head_dim() > 0);
    }
    same_again(text, ClipSegTextConfig::from_json, ClipSegTextConfig::to_json);
    same_again(text, ClipSegVisionConfig::from_json, ClipSegVisionConfig::to_json);
    same_again(text, PreprocessorConfig::from_json, PreprocessorConfig::to_json);
    model.is_some()
}

fn same_again<T: Debug + PartialEq>(
    text: &str,
    read: impl Fn(&str) -> Result<T>,
    write: impl Fn(&T) -> String,
) -> Option<T> {
    match read(text) {
        Ok(config) => {
            assert_eq!(read(&write(&config)).expect("what was written can be read"), config);
            Some(config)
        }
        Err(error) => {
            check_refusal(&error, text.as_bytes());
            None
        }
    }
}
