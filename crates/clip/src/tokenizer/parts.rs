//! The parts of a tokenizer engine that do not depend on which files describe it, and size limits.

use std::collections::HashMap;

use clipseg_files::shown;
use tokenizers::models::bpe::Vocab;
use tokenizers::normalizers::{Replace, replace::ReplacePattern};
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

/// The pattern by which CLIP splits a text into words before byte-pair encoding (`CLIPConverter` in
/// transformers).
pub(super) const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Most tokens added to a vocabulary; known tokenizers have a few thousand.
pub(super) const MAX_ADDED: usize = 1 << 16;
/// Most bytes of all added tokens together. The engine searches for all at once and needs some fifty bytes of
/// memory for each of these bytes.
const MAX_ADDED_BYTES: usize = 1 << 20;
/// Longest token in bytes. CLIP's longest has some fifty.
const MAX_TOKEN: usize = 1024;

/// Replaces each run of whitespace by one space.
pub(super) fn whitespace() -> Result<Replace, String> {
    Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(|error| error.to_string())
}

/// Splits a text into the matches of `pattern`.
pub(super) fn words(pattern: &str) -> Result<Split, String> {
    Split::new(SplitPattern::Regex(pattern.to_owned()), SplitDelimiterBehavior::Removed, true)
        .map_err(|error| error.to_string())
}

/// Checks that no id belongs to two tokens, and that no token is longer than [`MAX_TOKEN`].
pub(super) fn check_vocabulary(vocab: &Vocab) -> Result<(), String> {
    let mut tokens = HashMap::with_capacity(vocab.len());
    for (token, id) in vocab {
        check_length(token)?;
        if let Some(other) = tokens.insert(*id, token) {
            let (first, second) = if other < token { (other, token) } else { (token, other) };
            return Err(format!("{:?} and {:?} have the same id, {id}", shown(first), shown(second)));
        }
    }
    Ok(())
}

/// Checks that the added tokens are not too many and not too long for the engine's search.
pub(super) fn check_added<'a>(tokens: impl IntoIterator<Item = &'a AddedToken>) -> Result<(), String> {
    let (mut count, mut bytes) = (0, 0);
    for AddedToken { content, .. } in tokens {
        check_length(content)?;
        count += 1;
        bytes += content.len();
    }
    if count > MAX_ADDED || bytes > MAX_ADDED_BYTES {
        return Err(format!(
            "{count} tokens of {bytes} bytes in all; the limits are {MAX_ADDED} tokens and {MAX_ADDED_BYTES} bytes"
        ));
    }
    Ok(())
}

fn check_length(token: &str) -> Result<(), String> {
    match token.len() > MAX_TOKEN {
        true => Err(format!("the token {:?} is longer than {MAX_TOKEN} bytes", shown(token))),
        false => Ok(()),
    }
}
