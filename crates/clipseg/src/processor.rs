//! Turns texts, images and visual prompts into the model's inputs, as transformers' `CLIPSegProcessor` does
//! (`processing_clipseg.py` of v4.37.2).

use std::path::Path;

use crate::{Error, Photo, PixelBatch, Processor, Result, TextBatch, Tokenizer};

/// The image processor and the tokenizer of a checkpoint.
#[derive(Debug, Clone)]
pub struct ClipSegProcessor {
    /// Turns photos into pixel values.
    pub image_processor: Processor,
    /// Turns words into token ids.
    pub tokenizer: Tokenizer,
}

/// The result of [`ClipSegProcessor::process`]; each part is `Some` if its input was given.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ProcessedInputs {
    /// `input_ids` and `attention_mask` of the texts, padded to the longest.
    pub text: Option<TextBatch>,
    /// Pixels of the images.
    pub pixel_values: Option<PixelBatch>,
    /// Pixels of the visual prompts.
    pub conditional_pixel_values: Option<PixelBatch>,
}

impl ClipSegProcessor {
    /// Reads `preprocessor_config.json` and the tokenizer's files of a checkpoint folder.
    ///
    /// # Errors
    /// Where a file is missing, malformed, or asks for something impossible.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        Ok(Self { image_processor: Processor::from_dir(folder)?, tokenizer: Tokenizer::from_dir(folder)? })
    }

    /// Processes what is given: images, and prompts of one kind, either words (`text`) or pictures
    /// (`visual_prompt`). Their numbers may differ; the model checks them.
    ///
    /// # Errors
    /// [`Error::Input`], in transformers' words, where nothing or prompts of both kinds are given;
    /// [`Error::EmptyPrompt`]; [`Error::Input`] where images come out in different sizes.
    pub fn process<S: AsRef<str>>(
        &self,
        text: Option<&[S]>,
        images: Option<&[Photo]>,
        visual_prompt: Option<&[Photo]>,
    ) -> Result<ProcessedInputs> {
        if text.is_none() && visual_prompt.is_none() && images.is_none() {
            let message = "You have to specify either text, visual prompt or images.";
            return Err(Error::Input(message.to_owned()));
        }
        if text.is_some() && visual_prompt.is_some() {
            let message = "You have to specify exactly one type of prompt. Either text or visual prompt.";
            return Err(Error::Input(message.to_owned()));
        }
        let pixels = |photos: &[Photo]| self.image_processor.preprocess_batch(photos);
        Ok(ProcessedInputs {
            text: text.map(|texts| self.tokenizer.encode_batch(texts)).transpose()?,
            pixel_values: images.map(pixels).transpose()?,
            conditional_pixel_values: visual_prompt.map(pixels).transpose()?,
        })
    }

    /// The text of `ids`, as [`Tokenizer::decode`].
    ///
    /// # Errors
    /// Where the tokenizer cannot decode.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.tokenizer.decode(ids, skip_special)
    }

    /// The text of each row of ids, as [`Tokenizer::batch_decode`].
    ///
    /// # Errors
    /// Where the tokenizer cannot decode.
    pub fn batch_decode<I: AsRef<[u32]>>(&self, rows: &[I], skip_special: bool) -> Result<Vec<String>> {
        self.tokenizer.batch_decode(rows, skip_special)
    }
}
