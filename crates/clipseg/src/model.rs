mod forward;

use std::ops::Range;
use std::path::Path;

use clipseg_clip::Sampled;
use clipseg_clip::config::CONFIG_FILE;
use clipseg_decoder::{Conditions, Decoder, DecoderConfig};
use clipseg_tensor::{Array, Device, MemoryUse, Precision, Tensor, checksum};
use safetensors::Dtype;

pub use self::forward::{ConditionInput, SegmentationInput, SegmentationOutput};
use crate::loading::join;
use crate::parts::{Parts, needed_in_parts, say_need};
use crate::{
    Checkpoint, ClipSegConfig, Condition, DecoderOutputOptions, EncodedImage, Error, ImageInput, Result,
    SavedImage, TextEncoder, TextInput, VisionEncoder,
};

/// CLIPSeg whole, transformers' `CLIPSegForImageSegmentation`: ids and pixels in, logits out.
pub struct ClipSegForImageSegmentation {
    device: Device,
    config: ClipSegConfig,
    text: TextEncoder,
    vision: VisionEncoder,
    decoder: Decoder,
    fingerprint: String,
    /// Of the decoder's weights alone.
    decoder_fingerprint: String,
    texts: Parts,
    pictures: Parts,
    pairs: Parts,
}

impl ClipSegForImageSegmentation {
    /// Loads `config.json` and the weights in the folder `path`.
    ///
    /// # Errors
    /// A missing or malformed file, an impossible config, a missing or misshapen tensor, or the device's.
    pub fn from_pretrained(device: &Device, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let config = ClipSegConfig::from_file(path)?;
        config.validate().map_err(|error| error.in_file(&path.join(CONFIG_FILE)))?;
        Self::load(device, &Checkpoint::open(path)?, &config)
    }

    /// Loads the weights of an open checkpoint. From one that is [kept](Checkpoint::keep) in memory this
    /// reads no file, for as many devices as are wanted.
    ///
    /// # Errors
    /// An impossible config, a missing or misshapen tensor, or the device's.
    pub fn load(device: &Device, checkpoint: &Checkpoint, config: &ClipSegConfig) -> Result<Self> {
        config.validate()?;
        let loaded = Self::load_within_budget(device, checkpoint, config);
        say_need(device, loaded, || {
            Ok(MemoryUse { weights: weights_of(device, checkpoint), ..MemoryUse::default() })
        })
    }

    fn load_within_budget(device: &Device, checkpoint: &Checkpoint, config: &ClipSegConfig) -> Result<Self> {
        let prefix = checkpoint.clip_prefix()?;
        let width = Some(config.projection_dim);
        let extract = &config.extract_layers;
        let (text, vision) = join(
            || TextEncoder::load(device, checkpoint, prefix, &config.text_config, width),
            || VisionEncoder::load(device, checkpoint, prefix, &config.vision_config, width, extract),
        );
        let (text, vision) = (text?, vision?);
        let of_decoder = Sampled::new(checkpoint);
        Ok(Self {
            fingerprint: fingerprint(config.projection_dim, &text, &vision),
            text,
            vision,
            decoder: Decoder::load(device, &of_decoder, "decoder.", &decoder_config(config))?,
            decoder_fingerprint: of_decoder.fingerprint(""),
            device: device.clone(),
            texts: Parts::new(device, "prompts in words"),
            pictures: Parts::new(device, "prompts in pictures"),
            pairs: Parts::new(device, "prompts on a photo"),
            config: config.clone(),
        })
    }

    /// Rows and columns of the logits of an image of `grid` patches.
    pub(crate) fn logits_size(&self, grid: (usize, usize)) -> (usize, usize) {
        self.decoder.logits_size(grid)
    }

    /// The model's config.
    #[must_use]
    pub fn config(&self) -> &ClipSegConfig {
        &self.config
    }

    /// A name for the space that the model's conditions lie in, by which
    /// [`SavedConditions`](crate::SavedConditions) recognise their model. Its 16 hexadecimal digits are made
    /// of the towers' settings and of a sample of every weight that a condition depends on. It is the same
    /// for a checkpoint and what `clipseg convert --dtype f16` makes of it, and for models that share CLIP's
    /// towers, such as the published rd64 and rd16; further training of a tower changes it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether the weights are those of `other`, a model of the same config, as far as samples of them tell.
    pub(crate) fn has_weights_of(&self, other: &Self) -> bool {
        (&self.fingerprint, &self.decoder_fingerprint) == (&other.fingerprint, &other.decoder_fingerprint)
    }

    /// The device that the weights are on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Encodes images for any number of prompts.
    ///
    /// # Errors
    /// [`Error::Input`] when pixels and sizes do not fit; the device's.
    pub async fn encode_image(&self, images: ImageInput<'_>) -> Result<EncodedImage> {
        let ImageInput { batch, height, width, .. } = images;
        let needed = || self.vision.memory_needed(batch, height, width);
        say_need(&self.device, self.vision.encode(images).await, needed)
    }

    /// Encodes prompts in words.
    ///
    /// # Errors
    /// [`Error::Input`] for ids that the model does not have; the device's.
    pub async fn encode_text(&self, text: TextInput<'_>) -> Result<Condition> {
        let Some(count) = text.count() else {
            // The tower says what is wrong.
            return Ok(Condition { embeddings: self.text.embed(text).await? });
        };
        let needed = |count| self.text.memory_needed(count, text.length);
        let mut parts = self.texts.of(count, self.text.text_limit(text.length), needed)?;
        while let Some(part) = parts.next() {
            let rows = self.text.embed(text.texts(part)).await;
            parts.take(say_need(&self.device, rows, || self.text.memory_needed(1, text.length)))?;
        }
        Ok(Condition { embeddings: parts.finish() })
    }

    /// Encodes prompts in pictures.
    ///
    /// # Errors
    /// As [`encode_image`](Self::encode_image).
    pub async fn encode_image_prompt(&self, images: ImageInput<'_>) -> Result<Condition> {
        let ImageInput { pixel_values, batch, height, width } = images;
        if batch == 0 || !pixel_values.len().is_multiple_of(batch) {
            // As above, the tower says what is wrong.
            return Ok(Condition { embeddings: self.vision.embed(images).await? });
        }
        let values = pixel_values.len() / batch;
        let needed = |batch| self.vision.embedding_memory_needed(batch, height, width);
        let mut parts = self.pictures.of(batch, self.vision.image_limit(height, width), needed)?;
        while let Some(part) = parts.next() {
            let pixel_values = &pixel_values[part.start * values..part.end * values];
            let images = ImageInput { pixel_values, batch: part.len(), height, width };
            let rows = self.vision.embed(images).await;
            parts.take(say_need(&self.device, rows, || needed(1)))?;
        }
        Ok(Condition { embeddings: parts.finish() })
    }

    /// Copies an encoded image to the host, to be kept there or as a file.
    ///
    /// # Errors
    /// [`Error::OtherModel`] for an image that another model encoded; the device's.
    pub async fn save_image(&self, image: &EncodedImage) -> Result<SavedImage> {
        let activations = self.vision.download(image).await?;
        Ok(SavedImage::new(image.model(), image.grid, activations))
    }

    /// Copies an encoded image from the host to the device that this model is on. Its logits are those of the
    /// image that was saved.
    ///
    /// # Errors
    /// [`Error::OtherModel`] for an image that another model encoded; the device's.
    pub fn restore_image(&self, saved: &SavedImage) -> Result<EncodedImage> {
        self.vision.expect_model(saved.path(), saved.model())?;
        self.vision.upload(saved.activations(), saved.grid())
    }

    /// Logits `[prompts, height, width]` of every prompt on the one encoded image, or of each prompt on its
    /// own image.
    ///
    /// # Errors
    /// [`Error::Input`] when an encoded batch does not have as many images as there are prompts, or the
    /// condition's width is not this model's `projection_dim`; [`Error::OtherModel`] when another model
    /// encoded the image; [`OtherDevice`](clipseg_tensor::Error::OtherDevice) when the image is another
    /// device's; the device's own.
    pub async fn decode(&self, image: &EncodedImage, condition: &Condition) -> Result<Array> {
        let prompts = condition.len();
        condition.check(self.config.projection_dim)?;
        self.vision.expect_own(image)?;
        if image.batch != 1 && image.batch != prompts {
            let images = image.batch;
            return Err(Error::Input(format!(
                "{prompts} prompts for {images} images: one image, or one per prompt"
            )));
        }
        if prompts == 0 {
            let (rows, columns) = self.logits_size(image.grid);
            return Ok(Array { shape: vec![0, rows, columns], values: Vec::new() });
        }
        if image.batch != 1 {
            // The images of a batch are decoded together, as they were encoded.
            return self.decode_part(image, condition, 0..prompts).await;
        }
        let limit = self.decoder.pair_limit(image.grid);
        let needed = |pairs| Ok(self.decoder.memory_needed(pairs, image.grid)?);
        let mut parts = self.pairs.of(prompts, limit, needed)?;
        while let Some(part) = parts.next() {
            let logits = self.decode_part(image, condition, part).await;
            parts.take(say_need(&self.device, logits, || needed(1)))?;
        }
        Ok(parts.finish())
    }

    /// As [`encode_image`](Self::encode_image), from pixel values that are on the device,
    /// `[batch, channels, height, width]`. The future is ready when the work is submitted.
    ///
    /// # Errors
    /// As [`encode_image`](Self::encode_image).
    pub async fn encode_image_on_device(&self, pixels: &Tensor) -> Result<EncodedImage> {
        let &[batch, _, height, width] = pixels.shape() else {
            // The tower says what is wrong.
            return self.vision.encode_on_device(pixels).await;
        };
        let needed = || self.vision.memory_needed(batch, height, width);
        say_need(&self.device, self.vision.encode_on_device(pixels).await, needed)
    }

    /// As [`decode`](Self::decode) of a single image, with logits that stay on the device:
    /// `[prompts, height, width, 1]`, in as many tensors as the device's limits require. The future is ready
    /// when the work is submitted.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub async fn decode_on_device(&self, image: &EncodedImage, condition: &Condition) -> Result<Vec<Tensor>> {
        condition.check(self.config.projection_dim)?;
        self.vision.expect_own(image)?;
        if image.batch != 1 {
            let message = format!("{} images: what is decoded on the device is of one", image.batch);
            return Err(Error::Input(message));
        }
        let limit = self.decoder.pair_limit(image.grid);
        let width = self.config.projection_dim;
        let mut parts = Vec::new();
        for embeddings in condition.embeddings.values.chunks(limit.saturating_mul(width).max(1)) {
            let conditions = Conditions { embeddings, count: embeddings.len() / width };
            let logits = self.decoder.decode_on_device(&image.activations, image.grid, conditions).await;
            let needed = || Ok(self.decoder.memory_needed(conditions.count, image.grid)?);
            parts.push(say_need(&self.device, logits.map_err(Error::from), needed)?);
        }
        Ok(parts)
    }

    async fn decode_part(
        &self,
        image: &EncodedImage,
        condition: &Condition,
        part: Range<usize>,
    ) -> Result<Array> {
        let width = self.config.projection_dim;
        let embeddings = &condition.embeddings.values[part.start * width..part.end * width];
        let conditions = Conditions { embeddings, count: part.len() };
        let options = DecoderOutputOptions::default();
        Ok(self.decoder.forward(&image.activations, image.grid, conditions, options).await?.logits)
    }

    /// The most that [`Device::memory_use`] will be, on a device that this model has for itself, after it
    /// encoded an image of `height` by `width` and as many as `texts` texts of up to `length` tokens, and
    /// decoded these against the image. This is without a budget, which would divide the texts into parts.
    /// Memory that is in use already is included, and none is taken.
    ///
    /// # Errors
    /// The device's, of sizes beyond the adapter's limits.
    pub fn memory_needed(
        &self,
        (height, width): (usize, usize),
        texts: usize,
        length: usize,
    ) -> Result<MemoryUse> {
        let patch = self.config.vision_config.patch_size;
        let grid = (height / patch, width / patch);
        let mut needed = self.device.memory_use();
        needed += self.vision.memory_needed(1, height, width)?;
        if texts > 0 {
            let of_texts = |count| self.text.memory_needed(count, length);
            needed += needed_in_parts(texts, self.text.text_limit(length), of_texts)?;
            let of_pairs = |pairs| Ok(self.decoder.memory_needed(pairs, grid)?);
            needed += needed_in_parts(texts, self.decoder.pair_limit(grid), of_pairs)?;
        }
        Ok(needed)
    }
}

/// A name for the space of `width` dimensions that the towers' conditions lie in.
fn fingerprint(width: usize, text: &TextEncoder, vision: &VisionEncoder) -> String {
    let parts = format!("{width} {} {}", text.fingerprint(), vision.embedding_fingerprint());
    format!("{:016x}", checksum(parts.into_bytes()))
}

/// Bytes of a checkpoint's weights on a device, padding aside.
fn weights_of(device: &Device, checkpoint: &Checkpoint) -> u64 {
    let tensors = checkpoint.names().filter_map(|name| Some((name, checkpoint.get(name)?)));
    let bytes = tensors.map(|(name, tensor)| {
        // Only weights of linear layers, as which convolutions run too, are ever stored in f16.
        let is_table =
            ["token_embedding.weight", "position_embedding.weight"].iter().any(|end| name.ends_with(end));
        let is_linear = tensor.shape().len() > 1 && !is_table;
        let is_half = is_linear
            && !device.is_processor()
            && match device.precision() {
                Precision::F16 => true,
                Precision::F32 => false,
                // About as the checkpoint stores them.
                _ => tensor.dtype() == Dtype::F16,
            };
        if is_half { 2 * tensor.len() } else { 4 * tensor.len() }
    });
    bytes.sum::<usize>() as u64
}

fn decoder_config(config: &ClipSegConfig) -> DecoderConfig {
    DecoderConfig {
        vision_hidden_size: config.vision_config.hidden_size,
        projection_dim: config.projection_dim,
        reduce_dim: config.reduce_dim,
        intermediate_size: config.decoder_intermediate_size,
        num_attention_heads: config.decoder_num_attention_heads,
        depth: config.extract_layers.len(),
        conditional_layer: config.conditional_step(),
        patch_size: config.vision_config.patch_size,
        layer_norm_eps: config.vision_config.layer_norm_eps as f32,
        use_complex_transposed_convolution: config.use_complex_transposed_convolution,
    }
}
