//! Masks laid over a host's photos: from logits on the device and a texture to another texture.

use clipseg_shaders::kernels::overlay_mask;

use crate::host_memory::{HostStep, expect_texture, grid_1d};
use crate::mask_plan::MaskPlan;
use crate::photo;
use crate::{Device, Error, MaskValues, Result, Tensor};

/// How a mask is laid over a photo: each byte becomes `photo * (1 - share) + colour * share`, rounded.
///
/// By default as `clipseg segment` does it for its first prompt, with the outline of a photo whose smaller
/// side has fewer than 500 pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlay {
    /// Red, green and blue, 0 to 255 each, as pictures store them, which is as sRGB most often.
    pub colour: [u8; 3],
    /// The share of the colour where the mask is 1: 0 to 1.
    pub opacity: f32,
    /// What the mask is. The share goes with the probability; or it is the opacity within a threshold.
    pub values: MaskValues,
    /// How wide the mask's edge is drawn, in texels of the target: within the mask, in the colour alone. 0
    /// draws none. It is for thresholds; probabilities have no edge.
    pub outline: u32,
}

impl Default for Overlay {
    fn default() -> Self {
        Self { colour: [255, 64, 96], opacity: 0.5, values: MaskValues::Threshold(0.5), outline: 1 }
    }
}

/// A plan that resizes logits to a host's size and lays them over its photos.
///
/// What it gives is copied to the target, which so can be of a format that no kernel may write to: WebGPU's
/// core has storage textures of `Rgba8Unorm`, but neither of `Bgra8Unorm` nor of sRGB.
pub struct OverlayWriter {
    plan: MaskPlan,
}

impl OverlayWriter {
    /// For logits of `from` and overlays of `to`, rows and columns each.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the device's limits; [`Error::OtherDevice`] on the processor; the device's.
    pub fn new(device: &Device, from: (usize, usize), to: (usize, usize)) -> Result<Self> {
        Ok(Self { plan: MaskPlan::new(device, from, to, to.1, true)? })
    }

    /// Refuses a texture that an overlay cannot be written to.
    ///
    /// # Errors
    /// [`Error::Texture`] for one that is not of 8 bits a channel, or was made without `COPY_DST`.
    pub fn expect_target(texture: &wgpu::Texture) -> Result<()> {
        expect_texture(WHAT, texture, &photo::FORMATS, wgpu::TextureUsages::COPY_DST)
    }

    /// Writes `photo`, of any size, with the mask of one of `logits`, `[prompts, rows, columns]`, over the
    /// whole of `target`, which may be the photo itself.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such prompt or the logits have another size; [`Error::Texture`] for
    /// a photo that cannot be read, a target that cannot be written to or is of another size;
    /// [`Error::OtherDevice`] for another device's; the device's.
    pub fn run(
        &self,
        logits: &Tensor,
        prompt: usize,
        photo: &wgpu::Texture,
        target: &wgpu::Texture,
        overlay: &Overlay,
    ) -> Result<()> {
        Self::expect_target(target)?;
        let (height, width) = self.plan.size();
        if (target.height() as usize, target.width() as usize) != (height, width) {
            let reason =
                format!("it is {} by {} texels, not {width} by {height}", target.width(), target.height());
            return Err(Error::Texture { what: WHAT, reason });
        }
        let blend = self.blend(photo, target.format(), overlay)?;
        self.plan.run(logits, prompt, blend, self.plan.to_texture(target)?, WHAT)
    }

    fn blend(
        &self,
        photo: &wgpu::Texture,
        format: wgpu::TextureFormat,
        overlay: &Overlay,
    ) -> Result<HostStep> {
        let MaskPlan { device, probabilities, stride, packed, .. } = &self.plan;
        let (height, width) = self.plan.size();
        let [red, green, blue] = overlay.colour;
        let (has_threshold, threshold) = overlay.values.threshold();
        let params = overlay_mask::Params {
            height: height as u32,
            width: width as u32,
            stride: *stride as u32,
            photo_height: photo.height(),
            photo_width: photo.width(),
            scale_down: photo.height() as f32 / height as f32,
            scale_across: photo.width() as f32 / width as f32,
            is_srgb: u32::from(photo.format().is_srgb()),
            is_bgra: u32::from(format.remove_srgb_suffix() == wgpu::TextureFormat::Bgra8Unorm),
            has_threshold,
            threshold,
            opacity: overlay.opacity,
            outline: overlay.outline,
            colour: u32::from_le_bytes([red, green, blue, 0]),
        };
        let view = photo::view(device, photo)?;
        let mut resources = vec![wgpu::BindingResource::TextureView(&view)];
        for tensor in [probabilities, packed] {
            resources.push(tensor.gpu_buffer(device)?.as_entire_binding());
        }
        let grid = grid_1d(device, &overlay_mask::KERNEL, packed.len());
        HostStep::dispatch(device, &overlay_mask::KERNEL, &params, &resources, grid, photo::WHAT)
    }
}

const WHAT: &str = "the overlay's texture";
