//! The parts of a tokenizer engine, whichever files describe them, and their size limits.

use std::collections::HashMap;

use clipseg_files::shown;
use tokenizers::models::bpe::Vocab;
use tokenizers::normalizers::{Replace, replace::ReplacePattern};
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

/// How CLIP takes a text apart before byte-pair encoding (`CLIPConverter` in transformers).
pub(super) const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Most tokens added to a vocabulary; a few thousand are known.
pub(super) const MAX_ADDED: usize = 1 << 16;
/// Most bytes of all added tokens: the engine looks for all at once, with some fifty bytes for each of
/// theirs.
const MAX_ADDED_BYTES: usize = 1 << 20;
/// Longest token in bytes. CLIP's longest has some fifty.
const MAX_TOKEN: usize = 1024;

/// Whitespace becomes single spaces.
pub(super) fn whitespace() -> Result<Replace, String> {
    Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(|error| error.to_string())
}

/// Takes a text apart into what the pattern finds.
pub(super) fn words(pattern: &str) -> Result<Split, String> {
    Split::new(SplitPattern::Regex(pattern.to_owned()), SplitDelimiterBehavior::Removed, true)
        .map_err(|error| error.to_string())
}

/// Checks that each id is of one token, and no token longer than any is.
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

/// Checks that there are no more added tokens, and no longer ones, than an engine can look for.
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
