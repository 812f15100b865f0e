use std::path::Path;
use std::sync::Arc;

use clipseg_tensor::{Array, Device};
use pollster::block_on;

use crate::map_plans::MapPlans;
use crate::prompt_cache::PromptCache;
use crate::{
    ClipSegForImageSegmentation, Condition, Photo, PixelValues, Processor, Result, Scene, Segmentation,
    Template, Tokenizer, phrases,
};

/// Prompts whose conditions are kept: some 2 KB each at the published size.
const KEPT_PROMPTS: usize = 1024;

/// A checkpoint with its processor and tokenizer: photos and words in, masks out. It may be shared between threads.
pub struct ClipSeg {
    model: ClipSegForImageSegmentation,
    processor: Processor,
    tokenizer: Tokenizer,
    prompts: PromptCache,
    maps: Arc<MapPlans>,
}

impl ClipSeg {
    /// Loads a checkpoint folder as the Hub serves it: `config.json`, `model.safetensors` (or its shards),
    /// `preprocessor_config.json` (or the `processor_config.json` of transformers 5), and `tokenizer.json` or `vocab.json` with `merges.txt`.
    ///
    /// # Errors
    /// A missing or malformed file, an impossible config, a missing or misshapen tensor, or the device's.
    pub fn from_pretrained(device: &Device, path: impl AsRef<Path>) -> Result<Self> {
        // The small files first: what is missing is known before hundreds of megabytes are read.
        let processor = Processor::from_dir(path.as_ref())?;
        let tokenizer = Tokenizer::from_dir(path.as_ref())?;
        Self::from_parts(ClipSegForImageSegmentation::from_pretrained(device, path)?, processor, tokenizer)
    }

    /// Puts together what was loaded apart. The tokenizer's longest encoding is lowered to the model's positions.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) when the model has too few positions for a single token, or no embedding for
    /// one that the tokenizer adds to its vocabulary.
    pub fn from_parts(
        model: ClipSegForImageSegmentation,
        processor: Processor,
        mut tokenizer: Tokenizer,
    ) -> Result<Self> {
        let text = &model.config().text_config;
        tokenizer.limit_length(text.max_position_embeddings)?;
        tokenizer.check_added_tokens(text.vocab_size)?;
        let maps = MapPlans::new(model.device());
        Ok(Self { model, processor, tokenizer, prompts: PromptCache::new(KEPT_PROMPTS), maps })
    }

    /// The model underneath, which takes ids and pixels.
    #[must_use]
    pub fn model(&self) -> &ClipSegForImageSegmentation {
        &self.model
    }

    /// What makes pixels of photos.
    #[must_use]
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// What makes ids of words.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Encodes a photo, once for all prompts.
    ///
    /// # Errors
    /// The device's.
    pub fn encode_image(&self, photo: &Photo) -> Result<Scene> {
        self.encode_pixels(&self.processor.preprocess(photo))
    }

    /// As [`encode_image`](Self::encode_image), of a photo that is already preprocessed.
    ///
    /// # Errors
    /// The device's.
    pub fn encode_pixels(&self, pixels: &PixelValues) -> Result<Scene> {
        block_on(self.model.encode_image(pixels.into()))
    }

    /// Waits until the device has done all that it was given. Results wait for themselves; this is for measuring steps, since
    /// [`encode_image`](Self::encode_image) returns when its work is handed over.
    ///
    /// # Errors
    /// The device's, also of the work that was waited for.
    pub fn wait(&self) -> Result<()> {
        Ok(self.model.device().wait()?)
    }

    /// Encodes prompts, together those that were not asked for lately; the others' conditions are kept. One beyond the model's
    /// 77 tokens is cut, as [`Tokenizer::encode_batch`] reports.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`](crate::Error::EmptyPrompt); the device's.
    pub fn encode_text<S: AsRef<str>>(&self, prompts: &[S]) -> Result<Condition> {
        // All of them, so that a message about one says its place among all.
        self.tokenizer.encode_batch(prompts)?;
        self.prompts.get_or_encode(prompts, |missing| {
            let batch = self.tokenizer.encode_batch(missing)?;
            block_on(self.model.encode_text((&batch).into()))
        })
    }

    /// As [`encode_text`](Self::encode_text), each prompt as the mean of its conditions in all `templates`.
    ///
    /// # Errors
    /// As [`encode_text`](Self::encode_text), of an empty prompt too; [`Error::Input`](crate::Error::Input) without templates.
    pub fn encode_text_in<S: AsRef<str>>(&self, templates: &[Template], prompts: &[S]) -> Result<Condition> {
        // The phrase around an empty prompt would hide that it is empty.
        self.tokenizer.encode_batch(prompts)?;
        self.encode_text(&phrases(templates, prompts))?.means(templates.len())
    }

    /// Encodes a prompt in pixels: most often a [`Processor::visual_prompt`], which shows an object and hides the rest.
    ///
    /// # Errors
    /// The device's.
    pub fn encode_image_prompt(&self, pixels: &PixelValues) -> Result<Condition> {
        block_on(self.model.encode_image_prompt(pixels.into()))
    }

    /// Decodes conditions against a scene.
    ///
    /// # Errors
    /// The device's.
    pub fn decode(&self, scene: &Scene, condition: &Condition) -> Result<Segmentation> {
        let logits = block_on(self.model.decode(scene, condition))?;
        Ok(self.segmentation(logits))
    }

    pub(crate) fn segmentation(&self, logits: Array) -> Segmentation {
        Segmentation::new(&self.maps, logits)
    }

    /// Segments a scene by prompts: [`encode_text`](Self::encode_text), then [`decode`](Self::decode).
    ///
    /// # Errors
    /// As these two.
    pub fn segment<S: AsRef<str>>(&self, scene: &Scene, prompts: &[S]) -> Result<Segmentation> {
        self.decode(scene, &self.encode_text(prompts)?)
    }
}
