//! Encoded images: on the device, and copied to the host and back.

use std::path::Path;
use std::sync::Arc;

use clipseg_tensor::{Array, Tensor};

use super::VisionEncoder;
use crate::{Error, Result};

/// An encoded image, or a batch of them, on the device. Any number of prompts can be decoded against it.
/// Dropping it frees its memory.
pub struct EncodedImage {
    /// The outputs of the extract layers, `[batch, tokens, hidden]` each, in the order in which the decoder
    /// uses them.
    pub activations: Vec<Tensor>,
    /// Rows and columns of patches.
    pub grid: (usize, usize),
    /// Number of images.
    pub batch: usize,
    model: Arc<str>,
}

impl EncodedImage {
    /// Bytes of device memory that the image takes.
    /// [`MemoryUse::encoded_images`](clipseg_tensor::MemoryUse::encoded_images) is the sum for all images.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.activations.iter().map(|tensor| (4 * tensor.len() as u64).next_multiple_of(16)).sum()
    }

    /// The [fingerprint](VisionEncoder::fingerprint) of the tower that encoded it.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }
}

impl VisionEncoder {
    pub(super) fn encoded(
        &self,
        activations: Vec<Tensor>,
        grid: (usize, usize),
        batch: usize,
    ) -> EncodedImage {
        EncodedImage { activations, grid, batch, model: Arc::clone(&self.fingerprint) }
    }

    /// Identifies what the tower computes, so that stored images can be matched to their tower: 16
    /// hexadecimal digits of a checksum over its settings and a sample of every weight, in f16. A checkpoint
    /// and its conversion by `clipseg convert --dtype f16` have the same fingerprint, and so do models that
    /// share the tower and its extract layers but differ in their decoders.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Identifies what the tower makes of an image prompt, so that stored conditions can be matched to their
    /// model: as [`fingerprint`](Self::fingerprint), with all layers, the last norm and the projection, and
    /// without the extract layers.
    #[must_use]
    pub fn embedding_fingerprint(&self) -> &str {
        &self.embedding_fingerprint
    }

    /// Refuses an image that another tower encoded; its activations would mean nothing to this one.
    ///
    /// # Errors
    /// [`Error::OtherModel`].
    pub fn expect_own(&self, image: &EncodedImage) -> Result<()> {
        self.expect_model(Path::new("the encoded image"), &image.model)
    }

    /// As [`expect_own`](Self::expect_own), for an image in the host's memory: `model` is what
    /// [`EncodedImage::model`] returned. The error calls the image `label`.
    ///
    /// # Errors
    /// [`Error::OtherModel`].
    pub fn expect_model(&self, label: &Path, model: &str) -> Result<()> {
        if *model == *self.fingerprint {
            return Ok(());
        }
        let own = &self.fingerprint;
        let message = format!(
            "was made by another model ({model}, this one is {own}); encode the photo with this model"
        );
        Err(Error::OtherModel { path: label.to_owned(), message })
    }

    /// Copies an encoded image to the host: its activations, in order.
    ///
    /// # Errors
    /// [`Error::OtherModel`]; errors of the device.
    pub async fn download(&self, image: &EncodedImage) -> Result<Vec<Array>> {
        self.expect_own(image)?;
        let mut arrays = Vec::with_capacity(image.activations.len());
        for activation in &image.activations {
            arrays.push(self.device.download(activation).await?);
        }
        Ok(arrays)
    }

    /// Copies an encoded image back to the device, from the activations that [`download`](Self::download)
    /// returned and their grid.
    ///
    /// # Errors
    /// [`Error::Input`] when the activations are not those of this tower for an image with that grid; errors
    /// of the device.
    pub fn upload(&self, activations: &[Array], grid: (usize, usize)) -> Result<EncodedImage> {
        let batch = activations.first().and_then(|first| first.shape.first()).copied().unwrap_or(0);
        let tokens = grid.0.checked_mul(grid.1).and_then(|patches| patches.checked_add(1));
        let expected = [batch, tokens.unwrap_or(0), self.config.hidden_size];
        let is_own = |array: &Array| array.shape == expected;
        if activations.len() != self.extracted.len() || batch == 0 || !activations.iter().all(is_own) {
            let shapes: Vec<_> = activations.iter().map(|array| &array.shape).collect();
            return Err(Error::Input(format!(
                "activations of shapes {shapes:?} are not an encoded image of {} by {} patches: expected {} of \
                 [batch, {}, {}]",
                grid.0,
                grid.1,
                self.extracted.len(),
                expected[1],
                expected[2]
            )));
        }
        let upload = |array: &Array| Ok(self.device.upload_recycled(&array.shape, &array.values)?);
        Ok(self.encoded(activations.iter().map(upload).collect::<Result<_>>()?, grid, batch))
    }
}
