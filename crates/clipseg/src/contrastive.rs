use std::path::Path;

use clipseg_tensor::{Array, Device, Weights};

use crate::loading::join;
use crate::{
    Checkpoint, ClipSegConfig, Error, ImageInput, OutputOptions, Result, TextEncoder, TextInput, TowerOutput,
    VisionEncoder, loss,
};

/// CLIP as CLIPSeg carries it, transformers' `CLIPSegModel`: how well texts and images fit each other.
pub struct ClipSegModel {
    text: TextEncoder,
    vision: VisionEncoder,
    logit_scale: f32,
}

/// What [`ClipSegModel::forward`] gives, under transformers' names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClipSegOutput {
    /// The contrastive loss, where asked for.
    pub loss: Option<f32>,
    /// `[images, texts]`, scaled cosines.
    pub logits_per_image: Array,
    /// `[texts, images]`, scaled cosines.
    pub logits_per_text: Array,
    /// `[texts, projection_dim]`, of length 1.
    pub text_embeds: Array,
    /// `[images, projection_dim]`, of length 1.
    pub image_embeds: Array,
    /// The text tower's output.
    pub text_model_output: TowerOutput,
    /// The vision tower's output.
    pub vision_model_output: TowerOutput,
}

impl ClipSegModel {
    /// Loads `config.json` and the weights in the folder `path`, of a `CLIPSegModel` or of a whole CLIPSeg.
    ///
    /// # Errors
    /// A missing or malformed file, a missing or misshapen tensor, or the device's.
    pub fn from_pretrained(device: &Device, path: impl AsRef<Path>) -> Result<Self> {
        let config = ClipSegConfig::from_file(path.as_ref())?;
        Self::load(device, &Checkpoint::open(path)?, &config)
    }

    /// Loads the weights of an open checkpoint, of a `CLIPSegModel` or of a whole CLIPSeg.
    ///
    /// # Errors
    /// An impossible config, a missing or misshapen tensor, or the device's.
    pub fn load(device: &Device, checkpoint: &Checkpoint, config: &ClipSegConfig) -> Result<Self> {
        let prefix = checkpoint.clip_prefix()?;
        let width = Some(config.projection_dim);
        let (text, vision) = join(
            || TextEncoder::load(device, checkpoint, prefix, &config.text_config, width),
            || VisionEncoder::load(device, checkpoint, prefix, &config.vision_config, width, &[]),
        );
        Ok(Self {
            text: text?,
            vision: vision?,
            logit_scale: checkpoint.floats(&format!("{prefix}logit_scale"), &[])?[0],
        })
    }

    /// Compares texts with images.
    ///
    /// # Errors
    /// As the towers; [`Error::Input`] when the loss is asked for and there are not as many texts as images.
    pub async fn forward(
        &self,
        text: TextInput<'_>,
        images: ImageInput<'_>,
        return_loss: bool,
        options: OutputOptions,
    ) -> Result<ClipSegOutput> {
        let text_model_output = self.text.forward(text, options).await?;
        let (vision_model_output, _) = self.vision.forward(images, options).await?;
        let text_embeds = normalised(text_model_output.embedding.as_ref())?;
        let image_embeds = normalised(vision_model_output.embedding.as_ref())?;
        let scale = self.logit_scale.exp();
        let logits_per_text = scaled_products(&text_embeds, &image_embeds, scale);
        let logits_per_image = scaled_products(&image_embeds, &text_embeds, scale);
        let loss = match (return_loss, logits_per_text.shape[0] == logits_per_text.shape[1]) {
            (false, _) => None,
            (true, true) => Some(loss::contrastive(&logits_per_text)),
            (true, false) => {
                let [texts, images] = [logits_per_text.shape[0], logits_per_text.shape[1]];
                return Err(Error::Input(format!(
                    "a loss wants as many texts as images, not {texts} and {images}"
                )));
            }
        };
        Ok(ClipSegOutput {
            loss,
            logits_per_image,
            logits_per_text,
            text_embeds,
            image_embeds,
            text_model_output,
            vision_model_output,
        })
    }
}

fn normalised(embedding: Option<&Array>) -> Result<Array> {
    let mut array =
        embedding.cloned().ok_or_else(|| Error::Input("the model has no projections".to_owned()))?;
    let width = array.shape[1];
    for row in array.values.chunks_exact_mut(width) {
        let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= norm);
    }
    Ok(array)
}

/// `scale · left · rightᵀ`, `[left rows, right rows]`: a handful of products, not worth a transfer to the
/// device.
fn scaled_products(left: &Array, right: &Array, scale: f32) -> Array {
    let products = (0..left.shape[0]).flat_map(|row| {
        (0..right.shape[0]).map(move |column| {
            let pairs = left.slice(row).iter().zip(right.slice(column));
            scale * pairs.map(|(a, b)| a * b).sum::<f32>()
        })
    });
    Array { shape: vec![left.shape[0], right.shape[0]], values: products.collect() }
}
