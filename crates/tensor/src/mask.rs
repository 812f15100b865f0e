//! Masks for a host: from logits on the device to its textures and buffers, without a detour over host
//! memory.

use clipseg_shaders::kernels::pack_mask;

use crate::host_memory::{HostStep, expect_texture, grid_1d};
use crate::mask_plan::MaskPlan;
use crate::{Device, Error, Result, Tensor};

/// What a mask's texels say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaskValues {
    /// The probability, 0 to 1.
    Probability,
    /// 1 where the probability is at least so much, else 0.
    Threshold(f32),
}

impl MaskValues {
    /// As kernels take it: 1 and the threshold where there is one.
    pub(crate) fn threshold(self) -> (u32, f32) {
        match self {
            Self::Probability => (0, 0.0),
            Self::Threshold(threshold) => (1, threshold),
        }
    }
}

/// The texels of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MaskTexels {
    /// One byte each, 255 for 1: `R8Unorm`.
    Bits8,
    /// Half-precision floats: `R16Float`.
    Bits16,
    /// Floats: `R32Float`, and what lies in a buffer.
    Bits32,
}

const FORMATS: [wgpu::TextureFormat; 3] =
    [wgpu::TextureFormat::R8Unorm, wgpu::TextureFormat::R16Float, wgpu::TextureFormat::R32Float];

impl MaskTexels {
    /// Those of a mask's texture.
    ///
    /// # Errors
    /// [`Error::Texture`] for one of another format or usage than a mask can be written to.
    pub fn of(texture: &wgpu::Texture) -> Result<Self> {
        expect_texture(WHAT, texture, &FORMATS, wgpu::TextureUsages::COPY_DST)?;
        Ok(match texture.format() {
            wgpu::TextureFormat::R8Unorm => Self::Bits8,
            wgpu::TextureFormat::R16Float => Self::Bits16,
            _ => Self::Bits32,
        })
    }

    fn bits(self) -> u32 {
        match self {
            Self::Bits8 => 8,
            Self::Bits16 => 16,
            Self::Bits32 => 32,
        }
    }
}

/// Where a mask goes.
#[derive(Clone, Copy, Debug)]
pub enum MaskTarget<'a> {
    /// A texture of `R8Unorm`, `R16Float` or `R32Float` that was made with `COPY_DST`, the whole of it.
    Texture(&'a wgpu::Texture),
    /// A buffer that was made with `COPY_DST`: floats of 32 bits, row by row, from its begin on.
    Buffer(&'a wgpu::Buffer),
}

/// A plan that resizes logits to a host's size and writes them as a mask.
pub struct MaskWriter {
    plan: MaskPlan,
    texels: MaskTexels,
}

impl MaskWriter {
    /// For logits of `from` and masks of `to`, rows and columns each. `is_padded` for textures.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the device's limits; [`Error::OtherDevice`] on the processor; the device's.
    pub fn new(
        device: &Device,
        from: (usize, usize),
        to: (usize, usize),
        texels: MaskTexels,
        is_padded: bool,
    ) -> Result<Self> {
        let words = to.1.div_ceil(32 / texels.bits() as usize);
        Ok(Self { plan: MaskPlan::new(device, from, to, words, is_padded)?, texels })
    }

    /// Writes the mask of one of `logits`, `[prompts, rows, columns]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such prompt or the logits have another size; [`Error::Texture`] and
    /// [`Error::Buffer`] for a target that cannot be written to, or is of another size or format;
    /// [`Error::OtherDevice`] for another device's; the device's.
    pub fn run(
        &self,
        logits: &Tensor,
        prompt: usize,
        target: MaskTarget<'_>,
        values: MaskValues,
    ) -> Result<()> {
        let to_host = self.to_host(target)?;
        self.plan.run(logits, prompt, self.pack(values)?, to_host, WHAT)
    }

    fn pack(&self, values: MaskValues) -> Result<HostStep> {
        let MaskPlan { device, probabilities, stride, packed, .. } = &self.plan;
        let (height, width) = self.plan.size();
        let (has_threshold, threshold) = values.threshold();
        let params = pack_mask::Params {
            height: height as u32,
            width: width as u32,
            stride: *stride as u32,
            bits: self.texels.bits(),
            has_threshold,
            threshold,
        };
        let grid = grid_1d(device, &pack_mask::KERNEL, packed.len());
        let resources = [probabilities, packed]
            .map(|tensor| tensor.gpu_buffer(device).map(wgpu::Buffer::as_entire_binding));
        let [probabilities, packed] = resources;
        HostStep::dispatch(device, &pack_mask::KERNEL, &params, &[probabilities?, packed?], grid, WHAT)
    }

    fn to_host(&self, target: MaskTarget<'_>) -> Result<HostStep> {
        let (height, width) = self.plan.size();
        match target {
            MaskTarget::Texture(texture) => {
                let texels = MaskTexels::of(texture)?;
                let size = (texture.height() as usize, texture.width() as usize);
                if texels != self.texels || size != (height, width) || !self.plan.is_padded() {
                    let reason = format!(
                        "it is {} by {} of {:?}, not what this plan is for",
                        size.1,
                        size.0,
                        texture.format()
                    );
                    return Err(Error::Texture { what: WHAT, reason });
                }
                self.plan.to_texture(texture)
            }
            MaskTarget::Buffer(buffer) => {
                let bytes = 4 * (height * width) as u64;
                let refused = |reason: String| Err(Error::Buffer { what: "the mask's buffer", reason });
                if self.texels != MaskTexels::Bits32 || self.plan.stride != width {
                    return refused("this plan is for textures".to_owned());
                }
                if !buffer.usage().contains(wgpu::BufferUsages::COPY_DST) {
                    return refused("it was made without COPY_DST; add that to its usage".to_owned());
                }
                if buffer.size() < bytes {
                    let reason = format!(
                        "it has {} bytes, and a mask of {width} by {height} needs {bytes}",
                        buffer.size()
                    );
                    return refused(reason);
                }
                let from = self.plan.packed.gpu_buffer(&self.plan.device)?.clone();
                Ok(HostStep::ToBuffer { from, to: buffer.clone(), bytes })
            }
        }
    }
}

const WHAT: &str = "the mask's texture";
