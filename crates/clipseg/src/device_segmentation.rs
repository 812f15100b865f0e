//! From a host's texture to a host's texture, on its own device: nothing comes back to the processor.

use std::sync::Arc;

use clipseg_tensor::{MaskTarget, MaskTexels, MaskValues, Overlay, OverlayWriter, Tensor, wgpu};

use crate::map_plans::MapPlans;
use crate::{Error, Result};

/// Logits of several prompts on one image that stay on the device, to be written as masks into a host's
/// textures and buffers.
///
/// Each call submits its work, or within [`Device::commands`](crate::Device::commands) gives it to the host,
/// and waits for nothing.
pub struct DeviceSegmentation {
    plans: Arc<MapPlans>,
    /// `[prompts, height, width, 1]` each, in the order of the prompts.
    parts: Vec<Tensor>,
    /// Rows and columns.
    size: (usize, usize),
}

impl DeviceSegmentation {
    // `ClipSeg` alone makes it.
    #[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
    pub(crate) fn new(plans: &Arc<MapPlans>, parts: Vec<Tensor>, size: (usize, usize)) -> Self {
        Self { plans: Arc::clone(plans), parts, size }
    }

    /// The number of prompts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.shape()[0]).sum()
    }

    /// Whether there are no prompts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows of pixels of the logits.
    #[must_use]
    pub fn height(&self) -> usize {
        self.size.0
    }

    /// Columns of pixels of the logits.
    #[must_use]
    pub fn width(&self) -> usize {
        self.size.1
    }

    /// Writes the mask of a prompt over the whole of a texture, most often of the photo's size, as
    /// [`Segmentation::resized`](crate::Segmentation::resized) would have it: logits are interpolated
    /// bilinearly, then made probabilities.
    ///
    /// The texture is `R8Unorm`, `R16Float` or `R32Float` and was made with `COPY_DST`.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no such prompt, or a threshold is not a number; of the device's kinds
    /// [`Texture`](crate::DeviceError::Texture) for a texture that cannot be written to, which says what to
    /// change, [`OtherDevice`](crate::DeviceError::OtherDevice) for one of another device,
    /// [`TooLarge`](crate::DeviceError::TooLarge) beyond the device's limits.
    pub fn write_mask(&self, prompt: usize, texture: &wgpu::Texture, values: MaskValues) -> Result<()> {
        let to = (texture.height() as usize, texture.width() as usize);
        let writer = self.plans.mask(self.size, to, MaskTexels::of(texture)?, true)?;
        let (logits, index) = self.part(prompt, values)?;
        Ok(writer.run(logits, index, MaskTarget::Texture(texture), values)?)
    }

    /// As [`write_mask`](Self::write_mask), to the begin of a buffer that was made with `COPY_DST`: `width`
    /// by `height` floats of 32 bits, row by row.
    ///
    /// # Errors
    /// As [`write_mask`](Self::write_mask); [`Buffer`](crate::DeviceError::Buffer) for one that is too small
    /// or of another usage.
    pub fn write_mask_to_buffer(
        &self,
        prompt: usize,
        (width, height): (usize, usize),
        buffer: &wgpu::Buffer,
        values: MaskValues,
    ) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(Error::Input(format!("a mask of {width} by {height} pixels")));
        }
        let writer = self.plans.mask(self.size, (height, width), MaskTexels::Bits32, false)?;
        let (logits, index) = self.part(prompt, values)?;
        Ok(writer.run(logits, index, MaskTarget::Buffer(buffer), values)?)
    }

    /// Lays the mask of a prompt over a photo and writes that over the whole of a texture: what the command
    /// saves as `overlay`, byte by byte, with the same colour and outline.
    ///
    /// The photo is a texture as [`ClipSeg::encode_texture`](crate::ClipSeg::encode_texture) takes it, of any
    /// size: where it is not that of `texture` it is interpolated bilinearly, as renderers sample. `texture`
    /// is `Rgba8Unorm` or `Bgra8Unorm`, with or without `Srgb`, and was made with `COPY_DST`; it may be the
    /// photo itself, so that further prompts can be laid over what is there. Bytes are blended as they are
    /// stored, whatever of the two is sRGB. Alpha is the photo's.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no such prompt, a threshold is not a number, or the opacity not within
    /// 0 to 1; of the device's kinds those of [`write_mask`](Self::write_mask), for either texture.
    pub fn write_overlay(
        &self,
        prompt: usize,
        photo: &wgpu::Texture,
        texture: &wgpu::Texture,
        overlay: &Overlay,
    ) -> Result<()> {
        if !(0.0..=1.0).contains(&overlay.opacity) {
            let opacity = overlay.opacity;
            return Err(Error::Input(format!("an overlay's opacity is {opacity}, and not within 0 to 1")));
        }
        OverlayWriter::expect_target(texture)?;
        let (logits, index) = self.part(prompt, overlay.values)?;
        let to = (texture.height() as usize, texture.width() as usize);
        let writer = self.plans.overlay(self.size, to)?;
        Ok(writer.run(logits, index, photo, texture, overlay)?)
    }

    /// The logits that a prompt is among, and its place there.
    fn part(&self, prompt: usize, values: MaskValues) -> Result<(&Tensor, usize)> {
        if matches!(values, MaskValues::Threshold(threshold) if threshold.is_nan()) {
            return Err(Error::Input("a mask's threshold is not a number".to_owned()));
        }
        let mut index = prompt;
        for part in &self.parts {
            let count = part.shape()[0];
            if index < count {
                return Ok((part, index));
            }
            index -= count;
        }
        Err(Error::Input(format!("there is no prompt {prompt} among {}", self.len())))
    }
}

impl std::fmt::Debug for DeviceSegmentation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceSegmentation").field("parts", &self.parts).finish_non_exhaustive()
    }
}
