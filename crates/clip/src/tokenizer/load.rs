//! Loads a tokenizer from its files.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use clipseg_files::shown;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer as Engine};

use super::engine_file::{self, EngineFile};
use super::parts::{WORDS, check_added, check_vocabulary, whitespace, words};
use super::settings::{ADDED_FILE, CONFIG_FILE, Listed, SPECIAL_FILE, Settings, Special, is_id};
use super::{END_OF_WORD, Padding, Tokenizer};
use crate::config::MAX_VOCABULARY;
use crate::error::{Error, Result};
use crate::files::{SmallFiles, parse_json};

const ENGINE_FILE: &str = "tokenizer.json";
const VOCAB_FILE: &str = "vocab.json";
const MERGES_FILE: &str = "merges.txt";

/// Number of merges that CLIP's own reader takes from `merges.txt`: the size of its vocabulary, less 2 × 256
/// bytes and 2 special tokens.
const MAX_MERGES: usize = 49_152 - 256 - 2;

/// The tokenizer of a checkpoint. Errors about several files together name `whole`.
pub(super) fn load(files: &SmallFiles<'_>, whole: &Path) -> Result<Tokenizer> {
    let settings = Settings::read(files)?;
    let together = |message: String| Error::Tokenizer { path: whole.to_owned(), message };
    let listed = settings.listed().map_err(together)?;
    let has_engine = files.has(ENGINE_FILE);
    let EngineFile { mut engine, pads_left, truncates_left } = if has_engine {
        let text = files.read(ENGINE_FILE, "it is the tokenizer")?;
        let wrong = |message| Error::Tokenizer { path: files.path(ENGINE_FILE), message };
        engine_file::read(&text).map_err(wrong)?
    } else {
        if !files.has(VOCAB_FILE) && !files.has(MERGES_FILE) {
            let hint = format!(
                "there is no tokenizer, neither {ENGINE_FILE} nor {VOCAB_FILE} and {MERGES_FILE}; download them with the \
                 checkpoint"
            );
            return Err(Error::MissingFile { path: files.path(ENGINE_FILE), hint });
        }
        let hint = "vocab.json and merges.txt make a tokenizer together; download both";
        let (vocab, merges) = (files.read(VOCAB_FILE, hint)?, files.read(MERGES_FILE, hint)?);
        let mut vocab = parse_vocab(&files.path(VOCAB_FILE), &vocab)?;
        give_ids(&mut vocab, &listed).map_err(together)?;
        let merges = parse_merges(&files.path(MERGES_FILE), &merges)?;
        let engine = engine_from_vocabulary(vocab, merges, &settings).map_err(together)?;
        EngineFile { engine, pads_left: false, truncates_left: false }
    };
    add_tokens(&mut engine, &listed, &settings, has_engine).map_err(together)?;
    let pad = settings.token("pad_token");
    let id = engine.token_to_id(&pad).ok_or_else(|| missing_token("pad_token", &pad)).map_err(together)?;
    let padding = Padding { id, side: settings.padding_side(pads_left).map_err(together)? };
    let truncation = settings.truncation_side(truncates_left).map_err(together)?;
    let clean_up = settings.clean_up().map_err(together)?;
    let max_length = settings.max_length();
    // The default length always leaves room.
    let too_short = |message| Error::Tokenizer {
        path: files.path(CONFIG_FILE),
        message: format!("model_max_length = {max_length}: {message}"),
    };
    Tokenizer::new(engine, max_length, padding, truncation, clean_up).map_err(too_short)
}

/// Gives the listed tokens their ids; the engine would choose ids itself for those that the vocabulary lacks.
fn give_ids(vocab: &mut Vocab, listed: &[Listed]) -> Result<(), String> {
    let mut taken: HashMap<u32, String> = vocab.iter().map(|(token, &id)| (id, token.clone())).collect();
    for Listed { token, id, file } in listed {
        let content = &token.content;
        if let Some(other) = vocab.get(content).filter(|&other| other != id) {
            return Err(format!("{file} gives {:?} the id {id}, and {VOCAB_FILE} {other}", shown(content)));
        }
        if let Some(other) = taken.insert(*id, content.clone()).filter(|other| other != content) {
            return Err(format!(
                "{file} gives {:?} the id {id}, which {:?} has already",
                shown(content),
                shown(&other)
            ));
        }
        vocab.insert(content.clone(), *id);
    }
    Ok(())
}

/// Adds the tokens that the files list, and the special tokens, to those that the engine searches for before
/// it encodes the text between them; in the order and by the rules of transformers'
/// `PreTrainedTokenizerFast`. `whole` says that the engine was read from `tokenizer.json`, not made from a
/// vocabulary.
fn add_tokens(
    engine: &mut Engine,
    listed: &[Listed],
    settings: &Settings,
    whole: bool,
) -> Result<(), String> {
    // In an engine made from a vocabulary, the tokens that CLIP's own class starts with are searched for in
    // the normalised (lower-case) text, and all others in the prompt as given.
    let special = settings.special_tokens(|role, text| {
        let normalized = !whole && matches!(role, "bos_token" | "eos_token" | "unk_token");
        AddedToken::from(text, true).normalized(normalized)
    })?;
    let is_special = |content: &str| special.iter().any(|special| special.token.content == content);
    let is_known = |content: &str| engine.get_added_vocabulary().get_vocab().contains_key(content);
    let tokens: Vec<_> = listed
        .iter()
        // `added_tokens.json` knows no flags, so those in `tokenizer.json` count.
        .filter(|listed| !(whole && listed.file == ADDED_FILE && is_known(&listed.token.content)))
        .map(|Listed { token, .. }| AddedToken {
            special: token.special || is_special(&token.content),
            ..token.clone()
        })
        .collect();
    check_added(&tokens)?;
    engine.add_tokens(&tokens);
    for Listed { token: AddedToken { content, .. }, id, file } in listed {
        if let Some(found) = engine.token_to_id(content).filter(|found| found != id) {
            return Err(format!("{file} gives {:?} the id {id}, and {ENGINE_FILE} {found}", shown(content)));
        }
    }
    let mut known: HashSet<String> =
        engine.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
    let mut further = Vec::new();
    for Special { token, given } in special {
        // A `tokenizer.json` may name its special tokens otherwise; then CLIP's defaults do not belong to it.
        let of_this = given || !whole || engine.token_to_id(&token.content).is_some();
        if of_this && known.insert(token.content.clone()) {
            further.push(token);
        }
    }
    engine.add_tokens(&further);
    Ok(())
}

fn parse_vocab(path: &Path, text: &str) -> Result<Vocab> {
    let refuse = |message: String| Error::Tokenizer { path: path.to_owned(), message };
    let vocab: Vocab = parse_json(text)
        .map_err(|error| refuse(format!("is not a vocabulary, an object of token and id: {error}")))?;
    if let Some((token, id)) = vocab.iter().find(|&(_, &id)| !is_id(id)) {
        let token = shown(token);
        return Err(refuse(format!("{token:?} has the id {id}: must be below {MAX_VOCABULARY}")));
    }
    check_vocabulary(&vocab).map_err(refuse)?;
    Ok(vocab)
}

/// One merge per line, after a first line that names the version, as in CLIP's own reader.
fn parse_merges(path: &Path, text: &str) -> Result<Vec<(String, String)>> {
    // As Python reads any file: line ends may be those of other systems.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    // Python strips the text before it splits it, but lines are counted as an editor shows them.
    let blank = text.len() - text.trim_start().len();
    let first = 1 + text[..blank].matches('\n').count();
    let lines = text.trim().lines().zip(first..).skip(1).take(MAX_MERGES);
    lines
        .map(|(line, number)| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [left, right] => Ok((left.to_owned(), right.to_owned())),
            _ => Err(Error::Tokenizer {
                path: path.to_owned(),
                message: format!("line {}: expected two pieces to merge, found {:?}", number, shown(line)),
            }),
        })
        .collect()
}

/// The engine that transformers' `CLIPConverter` makes from a vocabulary and its merges.
fn engine_from_vocabulary(
    vocab: Vocab,
    merges: Vec<(String, String)>,
    settings: &Settings,
) -> Result<Engine, String> {
    let [bos, eos, unk, pad] =
        ["bos_token", "eos_token", "unk_token", "pad_token"].map(|role| (role, settings.token(role)));
    let id =
        |(role, token): &(&str, String)| vocab.get(token).copied().ok_or_else(|| missing_token(role, token));
    let processing = RobertaProcessing::new((eos.1.clone(), id(&eos)?), (bos.1.clone(), id(&bos)?))
        .trim_offsets(false)
        .add_prefix_space(false);
    for special in [&unk, &pad] {
        id(special)?;
    }

    let model = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix(END_OF_WORD.to_owned())
        .unk_token(unk.1.clone())
        .build()
        .map_err(|error| format!("{VOCAB_FILE} and {MERGES_FILE} do not fit each other: {error}"))?;

    let mut engine = Engine::new(model);
    engine.with_normalizer(Some(Normalizers::new(vec![NFC.into(), whitespace()?.into(), Lowercase.into()])));
    let bytes = ByteLevel::default().add_prefix_space(false);
    engine.with_pre_tokenizer(Some(PreTokenizers::new(vec![words(WORDS)?.into(), bytes.into()])));
    engine.with_decoder(Some(ByteLevel::default()));
    engine.with_post_processor(Some(processing));
    Ok(engine)
}

fn missing_token(role: &str, token: &str) -> String {
    format!(
        "the {role} {:?} is not in the vocabulary; {SPECIAL_FILE} or {CONFIG_FILE} must name one that is",
        shown(token)
    )
}
