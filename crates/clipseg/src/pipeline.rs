use std::path::Path;
use std::sync::Arc;

use clipseg_tensor::{Array, Device, MemoryUse, PhotoResize, PlanCache, block_on, wgpu};

use crate::map_plans::MapPlans;
use crate::prompt_cache::PromptCache;
use crate::{
    Checkpoint, ClipSegForImageSegmentation, Condition, DeviceSegmentation, EncodedImage, Error, ImageSize,
    Photo, PixelValues, Processor, Result, SavedImage, Segmentation, Template, Tokenizer, phrases,
};

/// Prompts whose conditions are kept: some 2 KB each at the published size.
const KEPT_PROMPTS: usize = 1024;
/// Sizes of textures for which the plan that resizes them is kept.
const KEPT_PHOTO_SIZES: usize = 2;

/// A checkpoint with its processor and tokenizer: photos and words in, masks out. It may be shared between
/// threads.
///
/// # When something fails
/// A failure is told to the call whose work it was, and harms no other: neither those of other threads nor
/// the next one, for which what was recorded and cached before is still there.
///
/// After a loss of the device ([`DeviceLost`](crate::DeviceError::DeviceLost)) every call is told of it. Lost
/// are the weights, the [`EncodedImage`]s and whatever else was on the device. Kept are what is the host's:
/// photos, [`Condition`]s, [`Segmentation`]s (which can be looked at, but no longer resized), the processor,
/// the tokenizer, and of this type the conditions of prompts. Open the device again and go on with
/// [`reloaded`](Self::reloaded); with a checkpoint that was [kept](Checkpoint::keep) in memory, no file is
/// read. `examples/lost_device.rs` shows it.
pub struct ClipSeg {
    model: ClipSegForImageSegmentation,
    processor: Processor,
    tokenizer: Tokenizer,
    prompts: PromptCache,
    maps: Arc<MapPlans>,
    photos: PlanCache<(usize, usize), PhotoResize>,
}

impl ClipSeg {
    /// Loads a checkpoint folder as the Hub serves it: `config.json`, `model.safetensors` (or its shards),
    /// `preprocessor_config.json` (or the `processor_config.json` of transformers 5), and `tokenizer.json` or
    /// `vocab.json` with `merges.txt`.
    ///
    /// # Errors
    /// A missing or malformed file, an impossible config, a missing or misshapen tensor, or the device's.
    pub fn from_pretrained(device: &Device, path: impl AsRef<Path>) -> Result<Self> {
        // The small files first: what is missing is known before hundreds of megabytes are read.
        let processor = Processor::from_dir(path.as_ref())?;
        let tokenizer = Tokenizer::from_dir(path.as_ref())?;
        Self::from_parts(ClipSegForImageSegmentation::from_pretrained(device, path)?, processor, tokenizer)
    }

    /// Puts together what was loaded apart. The tokenizer's longest encoding is lowered to the model's
    /// positions.
    ///
    /// # Errors
    /// [`Error::Config`] when the model has too few positions for a single token, or no embedding for
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
        let photos = PlanCache::new(model.device(), KEPT_PHOTO_SIZES);
        Ok(Self { model, processor, tokenizer, prompts: PromptCache::new(KEPT_PROMPTS), maps, photos })
    }

    /// The same on another device, as after the loss of this one: weights are loaded from `checkpoint`, the
    /// one that this was loaded from; processor, tokenizer and the prompts that are known are taken along.
    ///
    /// # Errors
    /// As [`ClipSegForImageSegmentation::load`]; [`Error::Input`] when the checkpoint is of another model.
    pub fn reloaded(&self, device: &Device, checkpoint: &Checkpoint) -> Result<Self> {
        let model = ClipSegForImageSegmentation::load(device, checkpoint, self.model.config())?;
        if model.fingerprint() != self.model.fingerprint() {
            let path = checkpoint.path().display();
            return Err(Error::Input(format!(
                "{path}: is not the checkpoint that this model was loaded from"
            )));
        }
        let (processor, tokenizer) = (self.processor.clone(), self.tokenizer.clone());
        Ok(Self { prompts: self.prompts.clone(), ..Self::from_parts(model, processor, tokenizer)? })
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

    /// What [`Device::memory_use`] will be at most on a device that this model has for itself, after it
    /// segmented a photo of `width` by `height` by so many prompts, and resized them to the photo's size. It
    /// is counted from what would be recorded: nothing is taken. Where that is more than
    /// [`DeviceOptions::memory_budget`](crate::DeviceOptions::memory_budget), prompts are looked for in parts
    /// and large maps are made in tiles, which takes less.
    ///
    /// # Errors
    /// The device's, of sizes beyond the adapter's limits.
    pub fn memory_needed(&self, width: usize, height: usize, prompts: usize) -> Result<MemoryUse> {
        let config = self.processor.config();
        let input = match config.size {
            ImageSize::Sides { height, width } if config.do_resize => (height, width),
            _ => (height, width),
        };
        let mut needed = self.model.memory_needed(input, prompts, self.tokenizer.max_length())?;
        let patch = self.model.config().vision_config.patch_size;
        let logits = (input.0 / patch * patch, input.1 / patch * patch);
        if prompts > 0 {
            needed += self.maps.memory_needed(logits, (height, width))?;
        }
        Ok(needed)
    }

    /// Encodes a photo, once for all prompts.
    ///
    /// # Errors
    /// The device's.
    pub fn encode_image(&self, photo: &Photo) -> Result<EncodedImage> {
        self.encode_pixels(&self.processor.preprocess(photo))
    }

    /// As [`encode_image`](Self::encode_image), of a photo that is already preprocessed.
    ///
    /// # Errors
    /// The device's.
    pub fn encode_pixels(&self, pixels: &PixelValues) -> Result<EncodedImage> {
        block_on(self.model.encode_image(pixels.into()))
    }

    /// As [`encode_image`](Self::encode_image), of a photo in a texture of a host's on the
    /// [device](Device::from_wgpu) that it opened: of any size, `Rgba8Unorm` or `Bgra8Unorm`, with or without
    /// `Srgb`, made with `TEXTURE_BINDING`. Its bytes are taken as they are stored and alpha is left out, as
    /// Pillow's `convert("RGB")` does; they are resized with Pillow's integers, so that the pixel values are
    /// those of [`Processor::preprocess`]. Of an sRGB texture the driver gives linear values, which are
    /// encoded again: exact where the driver decodes exactly, which is what drivers do that look bytes up in
    /// a table.
    ///
    /// It must be made from the `wgpu::Instance` that the device came from: wgpu numbers the resources of
    /// each instance by itself, so that one of another instance could be taken for another texture.
    ///
    /// The texture is read when the device has come to the work, which this submits or within
    /// [`Device::commands`] gives to the host.
    ///
    /// # Errors
    /// Of the device's kinds [`Texture`](crate::DeviceError::Texture) for one of another format or usage,
    /// which says what to change; [`OtherDevice`](crate::DeviceError::OtherDevice) for one of another device,
    /// and on the processor, which has none.
    pub fn encode_texture(&self, photo: &wgpu::Texture) -> Result<EncodedImage> {
        let size = (photo.width() as usize, photo.height() as usize);
        let device = self.model.device();
        let resize = self.photos.get_or_record(&size, || {
            PhotoResize::new(device, self.processor.photo_resizing(size.0, size.1))
        })?;
        block_on(self.model.encode_image_on_device(&resize.run(photo)?))
    }

    /// As [`decode`](Self::decode), with logits that stay on the device, to be written into a host's
    /// textures.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_on_device(
        &self,
        image: &EncodedImage,
        condition: &Condition,
    ) -> Result<DeviceSegmentation> {
        let parts = block_on(self.model.decode_on_device(image, condition))?;
        let patch = self.model.config().vision_config.patch_size;
        let size = (image.grid.0 * patch, image.grid.1 * patch);
        Ok(DeviceSegmentation::new(&self.maps, parts, size))
    }

    /// Copies an encoded photo to the host, to be kept there or as a file: [`SavedImage`] tells what for.
    ///
    /// # Errors
    /// [`Error::OtherModel`] for a photo that another model encoded; the device's.
    pub fn save_image(&self, image: &EncodedImage) -> Result<SavedImage> {
        block_on(self.model.save_image(image))
    }

    /// Copies an encoded photo from the host to the device that this model is on.
    ///
    /// # Errors
    /// [`Error::OtherModel`] for a photo that another model encoded; the device's.
    pub fn restore_image(&self, saved: &SavedImage) -> Result<EncodedImage> {
        self.model.restore_image(saved)
    }

    /// Waits until the device has done all that it was given. Results wait for themselves; this is for
    /// measuring steps, since [`encode_image`](Self::encode_image) returns when its work is handed over.
    ///
    /// # Errors
    /// The device's, also of the work that was waited for.
    pub fn wait(&self) -> Result<()> {
        Ok(self.model.device().wait()?)
    }

    /// Encodes prompts, together those that were not asked for lately; the others' conditions are kept. One
    /// beyond the model's 77 tokens is cut, as [`Tokenizer::encode_batch`] reports.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`]; the device's.
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
    /// As [`encode_text`](Self::encode_text), of an empty prompt too; [`Error::Input`] without templates.
    pub fn encode_text_in<S: AsRef<str>>(&self, templates: &[Template], prompts: &[S]) -> Result<Condition> {
        // The phrase around an empty prompt would hide that it is empty.
        self.tokenizer.encode_batch(prompts)?;
        self.encode_text(&phrases(templates, prompts))?.means(templates.len())
    }

    /// Encodes a prompt in pixels: most often a [`Processor::visual_prompt`], which shows an object and hides
    /// the rest.
    ///
    /// # Errors
    /// The device's.
    pub fn encode_image_prompt(&self, pixels: &PixelValues) -> Result<Condition> {
        block_on(self.model.encode_image_prompt(pixels.into()))
    }

    /// Decodes conditions against an encoded image.
    ///
    /// # Errors
    /// The device's.
    pub fn decode(&self, image: &EncodedImage, condition: &Condition) -> Result<Segmentation> {
        let logits = block_on(self.model.decode(image, condition))?;
        Ok(self.segmentation(logits))
    }

    pub(crate) fn segmentation(&self, logits: Array) -> Segmentation {
        Segmentation::new(&self.maps, logits)
    }

    /// Segments an encoded image by prompts: [`encode_text`](Self::encode_text), then
    /// [`decode`](Self::decode).
    ///
    /// # Errors
    /// As these two.
    pub fn segment<S: AsRef<str>>(&self, image: &EncodedImage, prompts: &[S]) -> Result<Segmentation> {
        self.decode(image, &self.encode_text(prompts)?)
    }
}
