//! CLIP's byte-pair encoding of prompts, as in transformers' `CLIPTokenizerFast`.

mod engine_file;
mod field;
mod load;
mod parts;
mod settings;

use std::iter::repeat_n;
use std::path::Path;

use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy};
use tokenizers::{PostProcessor, Tokenizer as Engine};

use crate::TextInput;
use crate::error::{Error, Result};
use crate::files::SmallFiles;

/// Suffix of the pieces that end a word, in CLIP's vocabulary.
const END_OF_WORD: &str = "</w>";

/// Turns prompts into token ids and back.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    engine: Engine,
    max_length: usize,
    padding: Padding,
    truncation: TruncationDirection,
    clean_up: bool,
}

/// How the shorter texts of a batch are padded.
#[derive(Debug, Clone, Copy)]
struct Padding {
    id: u32,
    side: PaddingSide,
}

/// The side on which the shorter texts of a batch are padded; `padding_side` of `tokenizer_config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PaddingSide {
    /// Before the start token.
    Left,
    /// After the end token.
    #[default]
    Right,
}

/// The ids of one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenIds {
    /// Start token, the text's tokens, end token.
    pub ids: Vec<u32>,
    /// Whether the text was truncated; the start and the end token are kept.
    pub truncated: bool,
}

/// The ids of several prompts, padded to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextBatch {
    /// Token ids, `[batch, length]`, row-major.
    pub input_ids: Vec<u32>,
    /// 1 for a token, 0 for padding, `[batch, length]`.
    pub attention_mask: Vec<u32>,
    /// Number of prompts.
    pub batch: usize,
    /// Tokens per prompt, padding included.
    pub length: usize,
    /// Indices of the prompts that were truncated, ascending.
    pub truncated: Vec<usize>,
}

impl<'a> From<&'a TextBatch> for TextInput<'a> {
    fn from(batch: &'a TextBatch) -> Self {
        Self {
            input_ids: &batch.input_ids,
            length: batch.length,
            attention_mask: Some(&batch.attention_mask),
            position_ids: None,
        }
    }
}

impl Tokenizer {
    /// Reads the tokenizer of a checkpoint folder: `tokenizer.json`, or else `vocab.json` and `merges.txt`.
    /// Further settings come from `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`:
    /// the added and special tokens, and the ones below with their defaults.
    ///
    /// - The padding token: `<|endoftext|>`.
    /// - The padding side, and the side on which a prompt that is too long loses tokens: right. A
    ///   `tokenizer.json` may have others as its own.
    /// - The longest length: 77.
    /// - Whether decoded text is cleaned up: yes.
    ///
    /// Added and special tokens are recognised anywhere in a prompt, even within a word: if `!` is the
    /// padding token, each `!` in a prompt becomes that token.
    ///
    /// # Errors
    /// Where the files are missing, malformed, or do not fit each other.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            let hint = "there is no such checkpoint folder".to_owned();
            return Err(Error::MissingFile { path: folder.to_owned(), hint });
        }
        load::load(&SmallFiles::Folder(folder), folder)
    }

    /// As [`from_dir`](Self::from_dir), from files in memory, each given with the name that it would have in
    /// the folder. Files of other names are ignored. Errors name the file.
    ///
    /// ```
    /// use clipseg_clip::Tokenizer;
    ///
    /// # fn bytes(vocabulary: &[u8], merges: &[u8]) -> clipseg_clip::Result<()> {
    /// let tokenizer = Tokenizer::from_files([("vocab.json", vocabulary), ("merges.txt", merges)])?;
    /// # Ok(())
    /// # }
    /// let error = Tokenizer::from_files([("tokenizer.json", "{")]).unwrap_err();
    /// assert!(error.to_string().starts_with("tokenizer.json: is not a tokenizer"));
    /// ```
    ///
    /// # Errors
    /// As [`from_dir`](Self::from_dir).
    pub fn from_files<'a, B: AsRef<[u8]> + ?Sized + 'a>(
        files: impl IntoIterator<Item = (&'a str, &'a B)>,
    ) -> Result<Self> {
        let files = files.into_iter().map(|(name, bytes)| (name, bytes.as_ref())).collect();
        load::load(&SmallFiles::Memory(files), Path::new("the tokenizer"))
    }

    /// Assembles a tokenizer and turns on truncation in the engine.
    fn new(
        engine: Engine,
        max_length: usize,
        padding: Padding,
        truncation: TruncationDirection,
        clean_up: bool,
    ) -> Result<Self, String> {
        let mut tokenizer = Self { engine, max_length, padding, truncation, clean_up };
        tokenizer.engine.with_padding(None);
        tokenizer.truncate_to(max_length)?;
        Ok(tokenizer)
    }

    /// Longest encoding in tokens, start and end included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Id that pads the shorter prompts of a batch.
    pub fn pad_token_id(&self) -> u32 {
        self.padding.id
    }

    /// The side on which they are padded.
    pub fn padding_side(&self) -> PaddingSide {
        self.padding.side
    }

    /// Lowers the longest encoding to `positions`, for a text tower that has fewer positions than the
    /// tokenizer's files say. Never raises it.
    ///
    /// # Errors
    /// Where `positions` leaves no room for a token between start and end.
    pub fn limit_length(&mut self, positions: usize) -> Result<()> {
        let max_length = self.max_length.min(positions);
        let named =
            |message| Error::config(format!("text_config.max_position_embeddings = {positions}: {message}"));
        self.truncate_to(max_length).map_err(named)
    }

    /// Checks that a model with `embeddings` tokens has one for each token that was added to the vocabulary.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first token without one.
    pub fn check_added_tokens(&self, embeddings: usize) -> Result<()> {
        let added = self.engine.get_added_tokens_decoder();
        let mut beyond: Vec<_> = added.into_iter().filter(|(id, _)| *id as usize >= embeddings).collect();
        beyond.sort_by_key(|(id, _)| *id);
        match beyond.first() {
            None => Ok(()),
            Some((id, token)) => Err(Error::config(format!(
                "text_config.vocab_size = {embeddings}: the vocabulary has {embeddings} tokens, but the tokenizer's \
                 {:?} has the id {id}: it belongs to another model, or this one was saved without \
                 `resize_token_embeddings`",
                token.content
            ))),
        }
    }

    fn truncate_to(&mut self, max_length: usize) -> Result<(), String> {
        let added = self.engine.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        // The engine subtracts `added` from `max_length` unchecked.
        if max_length <= added {
            return Err(format!(
                "a longest length of {max_length} tokens leaves no room beside {added} special tokens"
            ));
        }
        let truncation = TruncationParams {
            direction: self.truncation,
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        self.engine.with_truncation(Some(truncation)).map_err(|error| error.to_string())?;
        self.max_length = max_length;
        Ok(())
    }

    /// Encodes one prompt as start token, text and end token, truncated to [`max_length`](Self::max_length)
    /// with the start and the end token kept: the text loses its end, or its beginning where
    /// `tokenizer_config.json` has `"truncation_side": "left"`.
    ///
    /// # Errors
    /// Where the prompt is empty or blank.
    pub fn encode(&self, text: &str) -> Result<TokenIds> {
        self.encode_nth(text, 0, 1)
    }

    fn encode_nth(&self, text: &str, index: usize, count: usize) -> Result<TokenIds> {
        if text.trim().is_empty() {
            return Err(Error::EmptyPrompt { index, count });
        }
        let encoding = self
            .engine
            .encode_fast(text, true)
            .map_err(|error| Error::Tokenize { text: text.to_owned(), message: error.to_string() })?;
        Ok(TokenIds { ids: encoding.get_ids().to_vec(), truncated: !encoding.get_overflowing().is_empty() })
    }

    /// Encodes several prompts as [`encode`](Self::encode) does and pads them to the longest.
    ///
    /// # Errors
    /// Names the first prompt that is empty or blank. An empty slice is not an error; it gives an empty
    /// batch.
    pub fn encode_batch<S: AsRef<str>>(&self, texts: &[S]) -> Result<TextBatch> {
        let encoded = texts
            .iter()
            .enumerate()
            .map(|(index, text)| self.encode_nth(text.as_ref(), index, texts.len()))
            .collect::<Result<Vec<_>>>()?;
        let length = encoded.iter().map(|tokens| tokens.ids.len()).max().unwrap_or(0);
        let mut batch = TextBatch {
            input_ids: Vec::with_capacity(encoded.len() * length),
            attention_mask: Vec::with_capacity(encoded.len() * length),
            batch: encoded.len(),
            length,
            truncated: Vec::new(),
        };
        for (index, TokenIds { ids, truncated }) in encoded.iter().enumerate() {
            let missing = length - ids.len();
            let (before, after) = match self.padding.side {
                PaddingSide::Left => (missing, 0),
                PaddingSide::Right => (0, missing),
            };
            batch.input_ids.extend(repeat_n(self.padding.id, before));
            batch.input_ids.extend(ids);
            batch.input_ids.extend(repeat_n(self.padding.id, after));
            batch.attention_mask.extend(repeat_n(0, before));
            batch.attention_mask.extend(repeat_n(1, ids.len()));
            batch.attention_mask.extend(repeat_n(0, after));
            batch.truncated.extend(truncated.then_some(index));
        }
        Ok(batch)
    }

    /// The text of `ids`, in lower case as CLIP sees it. Spaces before punctuation are removed as
    /// transformers does, unless `clean_up_tokenization_spaces` is off in `tokenizer_config.json`. With
    /// `skip_special`, start, end and padding tokens are left out. Ids beyond the vocabulary are ignored.
    ///
    /// # Errors
    /// Where the engine cannot decode.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let text = self
            .engine
            .decode(ids, skip_special)
            .map_err(|error| Error::Tokenize { text: format!("{ids:?}"), message: error.to_string() })?;
        let mut text = text.replace(END_OF_WORD, " ").trim().to_owned();
        if !self.clean_up {
            return Ok(text);
        }
        for spaced in [" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"] {
            text = text.replace(spaced, spaced.trim());
        }
        Ok(text)
    }

    /// The text of each row of ids, as [`decode`](Self::decode).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn batch_decode<I: AsRef<[u32]>>(&self, rows: &[I], skip_special: bool) -> Result<Vec<String>> {
        rows.iter().map(|ids| self.decode(ids.as_ref(), skip_special)).collect()
    }
}
