use std::path::Path;
use std::sync::Arc;

use clipseg_clip::config::CONFIG_FILE;
use clipseg_tensor::{Array, Device, MemoryUse, PhotoResize, PlanCache, block_on, wgpu};

use crate::map_plans::MapPlans;
use crate::maps::check_size;
use crate::prompt_cache::PromptCache;
use crate::{
    Checkpoint, ClipSegForImageSegmentation, Condition, DeviceSegmentation, EncodedImage, Error, ImageSize,
    Photo, PixelValues, Processor, Result, SavedImage, Segmentation, Template, Tokenizer, phrases,
};

/// The number of prompts whose conditions are kept, some 2 KB each at the published size.
const KEPT_PROMPTS: usize = 1024;
/// The number of texture sizes for which the plan that resizes them is kept.
const KEPT_PHOTO_SIZES: usize = 2;

/// A checkpoint with its processor and tokenizer: photos and words in, masks out. It may be shared between
/// threads.
///
/// # When something fails
/// A failure is reported to the call whose work failed, and harms no other call: neither those of other
/// threads nor the next one, which still finds all that was recorded and cached before.
///
/// After a loss of the device ([`DeviceLost`](crate::DeviceError::DeviceLost)) every call fails with it. The
/// weights, the [`EncodedImage`]s and whatever else was on the device are lost. All that is in the host's
/// memory is kept: photos, [`Condition`]s, [`Segmentation`]s (which can be looked at, but no longer resized),
/// the processor, the tokenizer, and the conditions of prompts that this type caches. Open the device again
/// and go on with [`reloaded`](Self::reloaded); with a checkpoint that was [kept](Checkpoint::keep) in
/// memory, no file is read. `examples/lost_device.rs` shows it.
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
        let path = path.as_ref();
        // The small files first: what is missing is known before hundreds of megabytes are read.
        let processor = Processor::from_dir(path)?;
        let tokenizer = Tokenizer::from_dir(path)?;
        let model = ClipSegForImageSegmentation::from_pretrained(device, path)?;
        Self::from_parts(model, processor, tokenizer).map_err(|error| error.in_file(&path.join(CONFIG_FILE)))
    }

    /// Puts a model together from parts that were loaded separately. The tokenizer's longest encoding is
    /// lowered to the model's positions.
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

    /// The same model on another device, for example after the loss of this one. The weights are loaded from
    /// `checkpoint`, which has to be the one that this model was loaded from. The processor, the tokenizer
    /// and the conditions of known prompts are taken along.
    ///
    /// # Errors
    /// As [`ClipSegForImageSegmentation::load`]; [`Error::Input`] when the checkpoint is of another model.
    pub fn reloaded(&self, device: &Device, checkpoint: &Checkpoint) -> Result<Self> {
        let model = ClipSegForImageSegmentation::load(device, checkpoint, self.model.config())?;
        if !model.has_weights_of(&self.model) {
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

    /// The processor, which makes pixel values of photos.
    #[must_use]
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// The tokenizer, which makes token ids of words.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The most that [`Device::memory_use`] will be, on a device that this model has for itself, after it
    /// segmented a photo of `width` by `height` pixels by as many as `prompts` prompts, and resized the masks
    /// to the photo's size. It is counted from what would be recorded, and no memory is taken. Where it is
    /// more than [`DeviceOptions::memory_budget`](crate::DeviceOptions::memory_budget), prompts are processed
    /// in parts and large maps in tiles, which takes less.
    ///
    /// # Errors
    /// The device's, of sizes beyond the adapter's limits; [`Error::Input`] when the photo has more than
    /// 2³¹ - 1 pixels.
    pub fn memory_needed(&self, width: usize, height: usize, prompts: usize) -> Result<MemoryUse> {
        let config = self.processor.config();
        let input = match config.size {
            ImageSize::Sides { height, width } if config.do_resize => (height, width),
            _ => (height, width),
        };
        let mut needed = self.model.memory_needed(input, prompts, self.tokenizer.max_length())?;
        let patch = self.model.config().vision_config.patch_size;
        let logits = self.model.logits_size((input.0 / patch, input.1 / patch));
        if prompts > 0 {
            check_size(height, width)?;
            needed += self.maps.memory_needed(logits, (height, width))?;
        }
        Ok(needed)
    }

    /// Encodes a photo, once for all prompts.
    ///
    /// # Errors
    /// [`Error::Input`] for a photo smaller than a patch where the settings do not resize it; the device's.
    pub fn encode_image(&self, photo: &Photo) -> Result<EncodedImage> {
        self.encode_pixels(&self.processor.preprocess(photo))
    }

    /// As [`encode_image`](Self::encode_image), of a photo that is already preprocessed.
    ///
    /// # Errors
    /// [`Error::Input`] for values that are not three for each pixel, and for less than a patch; the
    /// device's.
    pub fn encode_pixels(&self, pixels: &PixelValues) -> Result<EncodedImage> {
        block_on(self.model.encode_image(pixels.into()))
    }

    /// As [`encode_image`](Self::encode_image), from a photo in a host's texture, on the
    /// [device](Device::from_wgpu) that the host opened. The texture may have any size; it is `Rgba8Unorm` or
    /// `Bgra8Unorm`, with or without `Srgb`, and made with `TEXTURE_BINDING`. Its bytes are taken as they are
    /// stored and alpha is left out, as Pillow's `convert("RGB")` does. They are resized in Pillow's integer
    /// arithmetic, so that the pixel values are those of [`Processor::preprocess`]. From an sRGB texture the
    /// driver gives linear values, which are encoded again. That is exact where the driver decodes exactly,
    /// as drivers do that look bytes up in a table.
    ///
    /// The texture must come from the same `wgpu::Instance` as the device: wgpu numbers the resources of each
    /// instance separately, so the texture of another instance could be taken for some other texture of this
    /// one.
    ///
    /// The texture is read when the device does the work, which this function submits or, within
    /// [`Device::commands`], gives to the host.
    ///
    /// # Errors
    /// The device's, among them [`Texture`](crate::DeviceError::Texture) for a texture of another format or
    /// usage, which says what to change, and [`OtherDevice`](crate::DeviceError::OtherDevice) for a texture
    /// of another device, and on the processor, which has no textures.
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
    /// As [`ClipSegForImageSegmentation::decode`].
    pub fn decode_on_device(
        &self,
        image: &EncodedImage,
        condition: &Condition,
    ) -> Result<DeviceSegmentation> {
        let parts = block_on(self.model.decode_on_device(image, condition))?;
        Ok(DeviceSegmentation::new(&self.maps, parts, self.model.logits_size(image.grid)))
    }

    /// Copies an encoded photo to the host, to be kept there or as a file; [`SavedImage`] says what that is
    /// for.
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

    /// Waits until the device has done all that was submitted. Functions that return results wait by
    /// themselves; this is for timing steps, since [`encode_image`](Self::encode_image) returns when its work
    /// is submitted.
    ///
    /// # Errors
    /// The device's, also of the work that was waited for.
    pub fn wait(&self) -> Result<()> {
        Ok(self.model.device().wait()?)
    }

    /// Encodes prompts. The conditions of recent prompts are cached; all other prompts are encoded together.
    /// A prompt beyond the model's 77 tokens is cut, as [`Tokenizer::encode_batch`] reports.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`]; [`Error::Input`] without prompts; the device's.
    pub fn encode_text<S: AsRef<str>>(&self, prompts: &[S]) -> Result<Condition> {
        // Tokenize all of them, so that a message about one tells its place among all.
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

    /// Encodes a prompt in pixels: most often those of
    /// [`PromptStyle::prompt`](crate::PromptStyle::prompt), which shows an object and hides the rest.
    ///
    /// # Errors
    /// As [`encode_pixels`](Self::encode_pixels).
    pub fn encode_image_prompt(&self, pixels: &PixelValues) -> Result<Condition> {
        block_on(self.model.encode_image_prompt(pixels.into()))
    }

    /// Decodes conditions against an encoded image.
    ///
    /// # Errors
    /// As [`ClipSegForImageSegmentation::decode`]; [`Error::LogitsNotFinite`].
    pub fn decode(&self, image: &EncodedImage, condition: &Condition) -> Result<Segmentation> {
        let logits = block_on(self.model.decode(image, condition))?;
        self.segmentation(logits)
    }

    pub(crate) fn segmentation(&self, logits: Array) -> Result<Segmentation> {
        // All are looked at, so that the loop has nothing to decide and becomes vectors.
        match logits.values.iter().fold(true, |all, logit| all & logit.is_finite()) {
            true => Ok(Segmentation::new(&self.maps, logits)),
            false => Err(Error::LogitsNotFinite),
        }
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
