//! Builds the engine from `tokenizer.json`, without the `tokenizers` crate's own reader.
//!
//! That reader panics on some damaged files, and it builds whatever a file describes, even replacements that
//! turn one letter into 8 GB. What CLIP's files contain is known, as transformers 4 and 5 write them. Exactly
//! that is built here; anything else is refused, with the name of its field.

use std::collections::HashMap;

use clipseg_files::shown;
use serde_json::{Value, json};
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, NormalizerWrapper, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer as Engine};

use super::END_OF_WORD;
use super::field::Field;
use super::parts::{MAX_ADDED, WORDS, check_added, check_vocabulary, whitespace, words};
use super::settings::is_id;
use crate::config::MAX_VOCABULARY;
use crate::files::parse_json;

/// The pattern that splits text into the same words but also names the special tokens, as in OpenAI's file
/// and in transformers 5.
const WORDS_AND_SPECIAL: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// Most steps of a normalizer or pre-tokenizer; CLIP's have three and two.
const MAX_STEPS: usize = 8;

/// What the file describes.
pub(super) struct EngineFile {
    pub engine: Engine,
    /// Whether its own padding is on the left: the default of `padding_side`, as in transformers, which takes
    /// nothing else of it.
    pub pads_left: bool,
    /// Whether its own truncation is on the left, in the same way.
    pub truncates_left: bool,
}

/// Reads the file. Error messages name the field.
pub(super) fn read(text: &str) -> Result<EngineFile, String> {
    let file: Value = parse_json(text).map_err(|error| format!("is not a tokenizer: {error}"))?;
    let root = Field::root(&file);
    if !root.get("model").value.is_object() {
        return Err(format!("is not a tokenizer: {}", root.get("model").wrong("an object")));
    }
    let mut engine = Engine::new(model(&root.get("model"))?);
    engine.with_normalizer(Some(Normalizers::new(normalizers(&root.get("normalizer"))?)));
    engine.with_pre_tokenizer(Some(pre_tokenizers(&root.get("pre_tokenizer"))?));
    engine.with_decoder(decoder(&root.get("decoder"))?);
    engine.add_tokens(&added_tokens(&root.get("added_tokens"))?);
    check_added_ids(&root.get("added_tokens"), &engine)?;
    let processor = post_processor(&root.get("post_processor"), &engine)?;
    engine.with_post_processor(Some(processor));
    let [pads_left, truncates_left] = [is_left(&root.get("padding"))?, is_left(&root.get("truncation"))?];
    Ok(EngineFile { engine, pads_left, truncates_left })
}

/// Whether padding or truncation, if the file has any, is on the left.
fn is_left(section: &Field) -> Result<bool, String> {
    let direction = section.get("direction");
    direction.check(&[json!("Right"), json!("Left"), Value::Null])?;
    Ok(direction.value == "Left")
}

/// The byte-pair encoding. Options that CLIP does not use, such as dropout, are refused.
fn model(model: &Field) -> Result<BPE, String> {
    model.get("type").check(&[json!("BPE"), Value::Null])?;
    model.get("dropout").check(&[Value::Null, json!(0), json!(0.0)])?;
    model.get("continuing_subword_prefix").check(&[json!(""), Value::Null])?;
    model.get("end_of_word_suffix").check(&[json!(END_OF_WORD)])?;
    for flag in ["fuse_unk", "byte_fallback", "ignore_merges"] {
        model.get(flag).check(&[json!(false), Value::Null])?;
    }
    let vocabulary = vocabulary(&model.get("vocab"))?;
    let merges = model.get("merges").items(MAX_VOCABULARY)?.map(|merge| pair(&merge));
    let mut builder =
        BPE::builder().continuing_subword_prefix(String::new()).end_of_word_suffix(END_OF_WORD.to_owned());
    let unknown = model.get("unk_token");
    if !unknown.value.is_null() {
        let token = unknown.text()?;
        if !vocabulary.contains_key(token) {
            return Err(unknown.wrong("a token of model.vocab"));
        }
        builder = builder.unk_token(token.to_owned());
    }
    builder
        .vocab_and_merges(vocabulary, merges.collect::<Result<Vec<_>, _>>()?)
        .build()
        .map_err(|error| format!("model.merges do not fit model.vocab: {}", shown(&error.to_string())))
}

fn vocabulary(vocab: &Field) -> Result<Vocab, String> {
    let tokens = vocab.value.as_object().ok_or_else(|| vocab.wrong("an object of tokens and ids"))?;
    let ids = tokens.iter().map(|(token, id)| {
        Ok((
            token.clone(),
            whole_number(id).ok_or_else(|| {
                format!(
                    "model.vocab: {:?} has the id {}: must be a whole number below {MAX_VOCABULARY}",
                    shown(token),
                    shown(&id.to_string())
                )
            })?,
        ))
    });
    let ids = ids.collect::<Result<Vocab, String>>()?;
    check_vocabulary(&ids).map_err(|message| format!("model.vocab: {message}"))?;
    Ok(ids)
}

fn whole_number(id: &Value) -> Option<u32> {
    id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| is_id(id))
}

/// Two pieces to merge: `["a", "b"]`, or `"a b"` in older files.
fn pair(merge: &Field) -> Result<(String, String), String> {
    let wrong = || merge.wrong("two pieces to merge");
    let pieces: Vec<&str> = match merge.value {
        Value::String(pieces) => pieces.split(' ').collect(),
        Value::Array(pieces) => pieces.iter().filter_map(Value::as_str).collect(),
        _ => return Err(wrong()),
    };
    match pieces[..] {
        [left, right] if merge.value.as_array().is_none_or(|pieces| pieces.len() == 2) => {
            Ok((left.to_owned(), right.to_owned()))
        }
        _ => Err(wrong()),
    }
}

/// What is done to a prompt before everything else: one step, a sequence of steps, or nothing.
fn normalizers(normalizer: &Field) -> Result<Vec<NormalizerWrapper>, String> {
    if normalizer.value.is_null() {
        return Ok(Vec::new());
    }
    match normalizer.kind()? {
        "Sequence" => {
            normalizer.get("normalizers").items(MAX_STEPS)?.map(|step| normalizer_of(&step)).collect()
        }
        _ => Ok(vec![normalizer_of(normalizer)?]),
    }
}

fn normalizer_of(step: &Field) -> Result<NormalizerWrapper, String> {
    match step.kind()? {
        "NFC" => Ok(NFC.into()),
        "Lowercase" => Ok(Lowercase.into()),
        "Replace" => {
            step.get("pattern").get("Regex").check(&[json!(r"\s+")])?;
            step.get("content").check(&[json!(" ")])?;
            Ok(whitespace()?.into())
        }
        _ => Err(step.get("type").wrong("NFC, Replace or Lowercase, as CLIP's tokenizers have it")),
    }
}

/// The split into words, and then into bytes.
fn pre_tokenizers(pre_tokenizer: &Field) -> Result<PreTokenizers, String> {
    pre_tokenizer.get("type").check(&[json!("Sequence")])?;
    let steps: Vec<_> = pre_tokenizer.get("pretokenizers").items(MAX_STEPS)?.collect();
    let [split, bytes] = &steps[..] else {
        return Err(pre_tokenizer
            .get("pretokenizers")
            .wrong("Split and ByteLevel, as CLIP's tokenizers have them"));
    };
    split.get("type").check(&[json!("Split")])?;
    let pattern = split.get("pattern").get("Regex");
    pattern.check(&[json!(WORDS), json!(WORDS_AND_SPECIAL)])?;
    split.get("behavior").check(&[json!("Removed")])?;
    split.get("invert").check(&[json!(true)])?;
    Ok(PreTokenizers::new(vec![words(pattern.text()?)?.into(), byte_level(bytes)?.into()]))
}

fn byte_level(bytes: &Field) -> Result<ByteLevel, String> {
    bytes.get("type").check(&[json!("ByteLevel")])?;
    let flag = |name: &str| bytes.get(name).flag(true);
    Ok(ByteLevel::new(flag("add_prefix_space")?, flag("trim_offsets")?, flag("use_regex")?))
}

fn decoder(decoder: &Field) -> Result<Option<DecoderWrapper>, String> {
    match decoder.value {
        Value::Null => Ok(None),
        _ => Ok(Some(byte_level(decoder)?.into())),
    }
}

/// Puts the start and end tokens around a prompt.
fn post_processor(processor: &Field, engine: &Engine) -> Result<RobertaProcessing, String> {
    processor.get("type").check(&[json!("RobertaProcessing")])?;
    let token = |name: &str| -> Result<(String, u32), String> {
        let field = processor.get(name);
        let token = match field.value.as_array().map(Vec::as_slice) {
            Some([Value::String(token), id]) => Some(token).zip(whole_number(id)),
            _ => None,
        };
        match token {
            Some((token, id)) if engine.token_to_id(token) == Some(id) => Ok((token.clone(), id)),
            Some((token, id)) => Err(format!(
                "post_processor.{name} = [{:?}, {id}]: the vocabulary has this token {}",
                shown(token),
                engine.token_to_id(token).map_or("not at all".to_owned(), |id| format!("with the id {id}"))
            )),
            None => Err(field.wrong("a token and its id")),
        }
    };
    let flag = |name: &str| processor.get(name).flag(true);
    Ok(RobertaProcessing::new(token("sep")?, token("cls")?)
        .trim_offsets(flag("trim_offsets")?)
        .add_prefix_space(flag("add_prefix_space")?))
}

/// Tokens that are searched for in a prompt before the rest of it is encoded.
fn added_tokens(added: &Field) -> Result<Vec<AddedToken>, String> {
    if added.value.is_null() {
        return Ok(Vec::new());
    }
    let tokens = added.items(MAX_ADDED)?.map(|token| {
        let flag = |name: &str| token.get(name).flag(false);
        let special = flag("special")?;
        Ok(AddedToken {
            content: token.get("content").text()?.to_owned(),
            single_word: flag("single_word")?,
            lstrip: flag("lstrip")?,
            rstrip: flag("rstrip")?,
            normalized: token.get("normalized").flag(!special)?,
            special,
        })
    });
    let tokens = tokens.collect::<Result<Vec<_>, String>>()?;
    check_added(&tokens).map_err(|message| format!("added_tokens: {message}"))?;
    Ok(tokens)
}

/// Checks that the added tokens have the ids that the file gives them. Where the vocabulary lacks such a
/// token, the engine silently chooses an id itself.
fn check_added_ids(added: &Field, engine: &Engine) -> Result<(), String> {
    if added.value.is_null() {
        return Ok(());
    }
    let mut taken = HashMap::new();
    for token in added.items(MAX_ADDED)? {
        let (content, id) = (token.get("content").text()?, token.get("id"));
        let must = format!("a whole number below {MAX_VOCABULARY}");
        let id = whole_number(id.value).ok_or_else(|| id.wrong(&must))?;
        let found = engine.token_to_id(content);
        if found.is_some_and(|found| found != id) {
            return Err(format!(
                "gives its added token {:?} the id {id}, where its vocabulary leaves room for {} alone",
                shown(content),
                found.unwrap_or_default()
            ));
        }
        if let Some(other) = taken.insert(id, content).filter(|&other| other != content) {
            return Err(format!(
                "gives its added tokens {:?} and {:?} the same id, {id}",
                shown(other),
                shown(content)
            ));
        }
    }
    Ok(())
}
