//! The tokenizer's files in a checkpoint folder.

use std::path::Path;

use serde_json::Value;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers, replace::ReplacePattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer as Engine};

use super::{END_OF_WORD, Padding, PaddingSide, Tokenizer};
use crate::error::{Error, Result};
use crate::files::read_text;

const ENGINE_FILE: &str = "tokenizer.json";
const VOCAB_FILE: &str = "vocab.json";
const MERGES_FILE: &str = "merges.txt";
const CONFIG_FILE: &str = "tokenizer_config.json";
const SPECIAL_FILE: &str = "special_tokens_map.json";

/// Positions of OpenAI's text tower, and the longest length where no file says otherwise.
const DEFAULT_LENGTH: usize = 77;
/// Largest length taken at its word. Transformers writes 10³⁰ for "no limit known".
const MAX_LENGTH: f64 = 65_537.0;
/// Merges that CLIP's own reader takes from `merges.txt`: its vocabulary less 2 × 256 bytes and 2 special tokens.
const MAX_MERGES: usize = 49_152 - 256 - 2;

/// How CLIP takes a text apart before byte-pair encoding (`CLIPConverter` in transformers).
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

pub(super) fn from_dir(folder: &Path) -> Result<Tokenizer> {
    if !folder.is_dir() {
        return Err(Error::MissingFile {
            path: folder.to_owned(),
            hint: "there is no such checkpoint folder".to_owned(),
        });
    }
    let settings = Settings::read(folder)?;
    let in_folder = |message: String| Error::Tokenizer { path: folder.to_owned(), message };
    let engine = if folder.join(ENGINE_FILE).exists() {
        engine_from_json(&folder.join(ENGINE_FILE))?
    } else {
        let (vocab, merges) = (folder.join(VOCAB_FILE), folder.join(MERGES_FILE));
        if !vocab.exists() && !merges.exists() {
            let hint = format!(
                "the folder has no tokenizer, neither {ENGINE_FILE} nor {VOCAB_FILE} and {MERGES_FILE}; download them \
                 with the checkpoint"
            );
            return Err(Error::MissingFile { path: folder.join(ENGINE_FILE), hint });
        }
        let hint = "vocab.json and merges.txt make a tokenizer together; download both";
        let (vocab, merges) = (parse_vocab(&vocab, &read_text(&vocab, hint)?)?, read_text(&merges, hint)?);
        engine_from_vocabulary(vocab, parse_merges(&folder.join(MERGES_FILE), &merges)?, &settings)
            .map_err(in_folder)?
    };
    let pad = settings.token("pad_token");
    let id = engine.token_to_id(&pad).ok_or_else(|| missing_token("pad_token", &pad)).map_err(in_folder)?;
    let padding = Padding { id, side: settings.padding_side().map_err(in_folder)? };
    let clean_up = settings.clean_up().map_err(in_folder)?;
    Tokenizer::new(engine, settings.max_length(), padding, clean_up).map_err(in_folder)
}

fn engine_from_json(path: &Path) -> Result<Engine> {
    let text = read_text(path, "it is the tokenizer")?;
    text.parse().map_err(|error: tokenizers::Error| Error::Tokenizer {
        path: path.to_owned(),
        message: format!("is no tokenizer: {error}"),
    })
}

fn parse_vocab(path: &Path, text: &str) -> Result<Vocab> {
    serde_json::from_str(text).map_err(|error| Error::Tokenizer {
        path: path.to_owned(),
        message: format!("is no vocabulary, an object of token and id: {error}"),
    })
}

/// One merge a line after a first line that names the version, as CLIP's own reader takes them.
fn parse_merges(path: &Path, text: &str) -> Result<Vec<(String, String)>> {
    let lines = text.trim().lines().enumerate().skip(1).take(MAX_MERGES);
    lines
        .map(|(number, line)| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [left, right] => Ok((left.to_owned(), right.to_owned())),
            _ => Err(Error::Tokenizer {
                path: path.to_owned(),
                message: format!("line {}: expected two pieces to merge, found {line:?}", number + 1),
            }),
        })
        .collect()
}

/// The engine that transformers' `CLIPConverter` makes of a vocabulary and its merges.
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
    let whitespace =
        Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(|error| error.to_string())?;
    let words = Split::new(SplitPattern::Regex(WORDS.to_owned()), SplitDelimiterBehavior::Removed, true)
        .map_err(|error| error.to_string())?;

    let mut engine = Engine::new(model);
    engine.with_normalizer(Some(Normalizers::new(vec![NFC.into(), whitespace.into(), Lowercase.into()])));
    let bytes = ByteLevel::default().add_prefix_space(false);
    engine.with_pre_tokenizer(Some(PreTokenizers::new(vec![words.into(), bytes.into()])));
    engine.with_decoder(Some(ByteLevel::default()));
    engine.with_post_processor(Some(processing));
    // Recognised in a prompt in any case: they are looked for after the text is lower-cased, as transformers has it.
    let special = [bos, eos, unk, pad].map(|(_, token)| AddedToken::from(token, true).normalized(true));
    engine.add_special_tokens(&special);
    Ok(engine)
}

fn missing_token(role: &str, token: &str) -> String {
    format!(
        "the {role} {token:?} is not in the vocabulary; {SPECIAL_FILE} or {CONFIG_FILE} must name one that is"
    )
}

/// `special_tokens_map.json` and `tokenizer_config.json`, each empty where it is missing.
struct Settings {
    special: Value,
    config: Value,
}

impl Settings {
    fn read(folder: &Path) -> Result<Self> {
        let object = |name: &str| -> Result<Value> {
            let path = folder.join(name);
            if !path.exists() {
                return Ok(Value::Null);
            }
            match serde_json::from_str(&read_text(&path, "")?) {
                Ok(value @ Value::Object(_)) => Ok(value),
                Ok(_) => Err(Error::Tokenizer { path, message: "is no JSON object".to_owned() }),
                Err(error) => Err(Error::Tokenizer { path, message: format!("is not valid JSON: {error}") }),
            }
        };
        Ok(Self { special: object(SPECIAL_FILE)?, config: object(CONFIG_FILE)? })
    }

    /// The token of a role such as `pad_token`: a text, or an object with it as `content`.
    fn token(&self, role: &str) -> String {
        let default = if role == "bos_token" { "<|startoftext|>" } else { "<|endoftext|>" };
        [&self.special[role], &self.config[role]]
            .into_iter()
            .find_map(|token| token.as_str().or_else(|| token["content"].as_str()))
            .unwrap_or(default)
            .to_owned()
    }

    /// `model_max_length`, unless it is missing or stands for "unlimited".
    fn max_length(&self) -> usize {
        match self.config["model_max_length"].as_f64() {
            Some(length) if (0.0..=MAX_LENGTH).contains(&length) => length as usize,
            _ => DEFAULT_LENGTH,
        }
    }
    fn padding_side(&self) -> Result<PaddingSide, String> {
        match &self.config["padding_side"] {
            Value::Null => Ok(PaddingSide::Right),
            Value::String(side) if side == "right" => Ok(PaddingSide::Right),
            Value::String(side) if side == "left" => Ok(PaddingSide::Left),
            other => Err(format!("{CONFIG_FILE}: padding_side = {other}: must be \"right\" or \"left\"")),
        }
    }

    /// `clean_up_tokenization_spaces`.
    fn clean_up(&self) -> Result<bool, String> {
        match &self.config["clean_up_tokenization_spaces"] {
            Value::Null => Ok(true),
            Value::Bool(clean_up) => Ok(*clean_up),
            other => {
                Err(format!("{CONFIG_FILE}: clean_up_tokenization_spaces = {other}: must be true or false"))
            }
        }
    }
}
