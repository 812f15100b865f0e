//! CLIP's towers by themselves.

use std::path::Path;

use clipseg_tensor::Device;

use crate::{
    Checkpoint, ClipSegTextConfig, ClipSegVisionConfig, ImageInput, OutputOptions, Result, TextEncoder,
    TextInput, TowerOutput, VisionEncoder,
};

/// The text tower alone, transformers' `CLIPSegTextModel`.
pub struct ClipSegTextModel(TextEncoder);

impl ClipSegTextModel {
    /// Loads `config.json` and the weights in the folder `path`, of this tower or of a model that has it.
    ///
    /// # Errors
    /// A missing or malformed file, a missing or misshapen tensor, or the device's.
    pub fn from_pretrained(device: &Device, path: impl AsRef<Path>) -> Result<Self> {
        let config = ClipSegTextConfig::from_file(path.as_ref())?;
        Self::load(device, &Checkpoint::open(path)?, &config)
    }

    /// Loads the weights of an open checkpoint, of this tower or of a model that has it.
    ///
    /// # Errors
    /// An impossible config, a missing or misshapen tensor, or the device's.
    pub fn load(device: &Device, checkpoint: &Checkpoint, config: &ClipSegTextConfig) -> Result<Self> {
        Ok(Self(TextEncoder::load(device, checkpoint, checkpoint.clip_prefix()?, config, None)?))
    }

    /// The hidden states of texts, `[batch, tokens, hidden_size]`, and those at their ends.
    ///
    /// # Errors
    /// As [`TextEncoder::forward`].
    pub async fn forward(&self, text: TextInput<'_>, options: OutputOptions) -> Result<TowerOutput> {
        self.0.forward(text, options).await
    }
}

/// The vision tower alone, transformers' `CLIPSegVisionModel`.
pub struct ClipSegVisionModel(VisionEncoder);

impl ClipSegVisionModel {
    /// Loads `config.json` and the weights in the folder `path`, of this tower or of a model that has it.
    ///
    /// # Errors
    /// A missing or malformed file, a missing or misshapen tensor, or the device's.
    pub fn from_pretrained(device: &Device, path: impl AsRef<Path>) -> Result<Self> {
        let config = ClipSegVisionConfig::from_file(path.as_ref())?;
        Self::load(device, &Checkpoint::open(path)?, &config)
    }

    /// Loads the weights of an open checkpoint, of this tower or of a model that has it.
    ///
    /// # Errors
    /// An impossible config, a missing or misshapen tensor, or the device's.
    pub fn load(device: &Device, checkpoint: &Checkpoint, config: &ClipSegVisionConfig) -> Result<Self> {
        let prefix = checkpoint.clip_prefix()?;
        Ok(Self(VisionEncoder::load(device, checkpoint, prefix, config, None, &[])?))
    }

    /// The hidden states of images, `[batch, 1 + patches, hidden_size]`, and those of the class tokens, normalised.
    ///
    /// # Errors
    /// As [`VisionEncoder::forward`].
    pub async fn forward(&self, images: ImageInput<'_>, options: OutputOptions) -> Result<TowerOutput> {
        Ok(self.0.forward(images, options).await?.0)
    }
}
