//! Everything at once, as transformers' `forward` takes and returns it.

use clipseg_decoder::Conditions;
use clipseg_tensor::Array;

use super::ClipSegForImageSegmentation;
use crate::{
    DecoderOutput, DecoderOutputOptions, Error, ImageInput, OutputOptions, Result, TextInput, TowerOutput,
    loss,
};

/// Where [`ClipSegForImageSegmentation::forward`] takes its conditions from; one per image.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ConditionInput<'a> {
    /// Prompts in words.
    Text(TextInput<'a>),
    /// Prompts in pictures.
    Images(ImageInput<'a>),
    /// Embeddings that the caller has, `[batch, projection_dim]`.
    Embeddings(&'a Array),
}

/// The inputs of [`ClipSegForImageSegmentation::forward`].
#[derive(Clone, Copy, Debug)]
pub struct SegmentationInput<'a> {
    /// The images to segment.
    pub images: ImageInput<'a>,
    /// What to look for in each.
    pub condition: ConditionInput<'a>,
    /// Masks in 0..=1, `[batch, height, width]` as the logits; with them there is a loss.
    pub labels: Option<&'a [f32]>,
    /// What else the vision tower and the decoder should return besides the logits.
    pub options: OutputOptions,
}

/// What [`ClipSegForImageSegmentation::forward`] gives, under transformers' names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentationOutput {
    /// Mean binary cross-entropy against the labels, where there are any.
    pub loss: Option<f32>,
    /// `[batch, height, width]`; their sigmoid is the probability.
    pub logits: Array,
    /// `[batch, projection_dim]`
    pub conditional_embeddings: Array,
    /// The images' own projected embeddings, `[batch, projection_dim]`.
    pub pooled_output: Array,
    /// The vision tower's output.
    pub vision_model_output: TowerOutput,
    /// The decoder's output; its logits are moved to the field of that name.
    pub decoder_output: DecoderOutput,
}

impl ClipSegForImageSegmentation {
    /// Computes everything that transformers' `forward` returns.
    ///
    /// # Errors
    /// [`Error::Input`] in the reference's words when there are not as many conditions as images, or their
    /// width is not `projection_dim`; [`Error::Input`] too when there are not as many labels as logits; the
    /// device's.
    pub async fn forward(&self, input: SegmentationInput<'_>) -> Result<SegmentationOutput> {
        let batch = input.images.batch;
        let refuse = |message: &str| Err(Error::Input(message.to_owned()));
        match input.condition {
            ConditionInput::Text(text) if batch.checked_mul(text.length) != Some(text.input_ids.len()) => {
                return refuse("Make sure to pass as many prompt texts as there are query images");
            }
            ConditionInput::Images(images) if images.batch != batch => {
                return refuse("Make sure to pass as many prompt images as there are query images");
            }
            ConditionInput::Embeddings(array) if array.shape.first() != Some(&batch) => {
                return refuse(
                    "Make sure to pass as many conditional embeddings as there are query images in the batch",
                );
            }
            ConditionInput::Embeddings(array) if array.shape != [batch, self.config.projection_dim] => {
                return refuse(
                    "Make sure that the feature dimension of the conditional embeddings matches \
                     `config.projection_dim`.",
                );
            }
            _ => {}
        }
        let (mut vision_model_output, image) = self.vision.forward(input.images, input.options).await?;
        let condition = match input.condition {
            ConditionInput::Text(text) => self.encode_text(text).await?.embeddings,
            ConditionInput::Images(images) => self.encode_image_prompt(images).await?.embeddings,
            ConditionInput::Embeddings(array) => array.clone(),
        };
        let conditions = Conditions { embeddings: &condition.values, count: batch };
        let options = DecoderOutputOptions {
            hidden_states: input.options.hidden_states,
            attentions: input.options.attentions,
        };
        let mut decoder_output =
            self.decoder.forward(&image.activations, image.grid, conditions, options).await?;
        let logits = std::mem::take(&mut decoder_output.logits);
        let loss = match input.labels {
            Some(labels) if labels.len() != logits.values.len() => {
                let message = format!("{} labels for logits of shape {:?}", labels.len(), logits.shape);
                return Err(Error::Input(message));
            }
            labels => labels.map(|labels| loss::binary_cross_entropy(&logits.values, labels)),
        };
        Ok(SegmentationOutput {
            loss,
            logits,
            conditional_embeddings: condition,
            pooled_output: vision_model_output.embedding.take().unwrap_or_default(),
            vision_model_output,
            decoder_output,
        })
    }
}
