//! Masks for a host: from logits on the device to its textures and buffers, without a detour over host
//! memory.

use clipseg_shaders::kernels::pack_mask;

use crate::host_memory::{HostStep, expect_texture, grid_1d, of_another_device, of_this_instance};
use crate::plan::Plan;
use crate::{Device, Error, Recorder, Result, Tensor, Tile};

/// What a mask's texels say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaskValues {
    /// The probability, 0 to 1.
    Probability,
    /// 1 where the probability is at least so much, else 0.
    Threshold(f32),
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
    device: Device,
    plan: Plan,
    /// `[1, rows, columns]`
    logits: Tensor,
    /// `[1, rows, columns]`
    probabilities: Tensor,
    texels: MaskTexels,
    /// Words of a row of the packed mask: whole multiples of 256 bytes for a texture.
    stride: usize,
    packed: Tensor,
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
        // The processor has no memory of a host's to write to.
        device.gpu()?;
        let words = to.1.div_ceil(32 / texels.bits() as usize);
        let stride = if is_padded { words.next_multiple_of(64) } else { words };
        let whole =
            |(height, width): (usize, usize)| Tile { height, width, rows: 0..height, columns: 0..width };
        let mut recorder = Recorder::new(device);
        let logits = recorder.input(&[1, from.0, from.1])?;
        let packed = recorder.input_u32(&[to.0, stride])?;
        let resized = recorder.bilinear_resize(&logits, &whole(from), &whole(to))?;
        let probabilities = recorder.sigmoid(&resized)?;
        let probabilities = recorder.output(&probabilities)?;
        drop(resized);
        let plan = recorder.finish()?;
        Ok(Self { device: device.clone(), plan, logits, probabilities, texels, stride, packed })
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
        let mut run = self.plan.run();
        run.copy_in_part(logits, prompt, &self.logits)?;
        run.last(self.pack(values)?);
        run.last(to_host);
        of_this_instance(WHAT, || run.submit()).map_err(|error| of_another_device(error, WHAT))
    }

    fn pack(&self, values: MaskValues) -> Result<HostStep> {
        let (height, width) = self.size();
        let (has_threshold, threshold) = match values {
            MaskValues::Probability => (0, 0.0),
            MaskValues::Threshold(threshold) => (1, threshold),
        };
        let params = pack_mask::Params {
            height: height as u32,
            width: width as u32,
            stride: self.stride as u32,
            bits: self.texels.bits(),
            has_threshold,
            threshold,
        };
        let resources = [&self.probabilities, &self.packed]
            .map(|tensor| tensor.gpu_buffer(&self.device).map(wgpu::Buffer::as_entire_binding));
        let [probabilities, packed] = resources;
        let grid = grid_1d(&self.device, &pack_mask::KERNEL, self.packed.len());
        HostStep::dispatch(&self.device, &pack_mask::KERNEL, &params, &[probabilities?, packed?], grid, WHAT)
    }

    fn to_host(&self, target: MaskTarget<'_>) -> Result<HostStep> {
        let (height, width) = self.size();
        let packed = self.packed.gpu_buffer(&self.device)?.clone();
        match target {
            MaskTarget::Texture(texture) => {
                let texels = MaskTexels::of(texture)?;
                let size = (texture.height() as usize, texture.width() as usize);
                if texels != self.texels || size != (height, width) || !self.stride.is_multiple_of(64) {
                    let reason = format!(
                        "it is {} by {} of {:?}, not what this plan is for",
                        size.1,
                        size.0,
                        texture.format()
                    );
                    return Err(Error::Texture { what: WHAT, reason });
                }
                let row_bytes = 4 * self.stride as u32;
                Ok(HostStep::ToTexture { buffer: packed, row_bytes, texture: texture.clone() })
            }
            MaskTarget::Buffer(buffer) => {
                let bytes = 4 * (height * width) as u64;
                let refused = |reason: String| Err(Error::Buffer { what: "the mask's buffer", reason });
                if self.texels != MaskTexels::Bits32 || self.stride != width {
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
                Ok(HostStep::ToBuffer { from: packed, to: buffer.clone(), bytes })
            }
        }
    }

    fn size(&self) -> (usize, usize) {
        (self.probabilities.shape()[1], self.probabilities.shape()[2])
    }
}

const WHAT: &str = "the mask's texture";
