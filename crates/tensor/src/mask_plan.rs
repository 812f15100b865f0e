//! Logits resized to a host's size and made probabilities, and the words that a kernel makes of them for a
//! copy into the host's memory.

use crate::host_memory::{HostStep, of_another_device};
use crate::plan::Plan;
use crate::{Device, Recorder, Result, Tensor, Tile};

/// Words of which a texture's rows are copied: 256 bytes.
const ROW_WORDS: usize = 64;

pub(crate) struct MaskPlan {
    pub device: Device,
    plan: Plan,
    /// `[1, rows, columns]`
    logits: Tensor,
    /// `[1, rows, columns]`
    pub probabilities: Tensor,
    /// Words of a row of `packed`.
    pub stride: usize,
    /// `[rows, stride]`, which is copied to the host's memory.
    pub packed: Tensor,
}

impl MaskPlan {
    /// For logits of `from` and masks of `to`, rows and columns each, of `words` a row. `is_padded` for
    /// textures.
    pub fn new(
        device: &Device,
        from: (usize, usize),
        to: (usize, usize),
        words: usize,
        is_padded: bool,
    ) -> Result<Self> {
        // The processor has no memory of a host's to write to.
        device.gpu()?;
        let stride = if is_padded { words.next_multiple_of(ROW_WORDS) } else { words };
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
        Ok(Self { device: device.clone(), plan, logits, probabilities, stride, packed })
    }

    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.probabilities.shape()[1], self.probabilities.shape()[2])
    }

    /// Whether rows are as a copy to a texture needs them.
    pub fn is_padded(&self) -> bool {
        self.stride.is_multiple_of(ROW_WORDS)
    }

    /// The copy of what is packed to the whole of a texture.
    pub fn to_texture(&self, texture: &wgpu::Texture) -> Result<HostStep> {
        let buffer = self.packed.gpu_buffer(&self.device)?.clone();
        Ok(HostStep::ToTexture { buffer, row_bytes: 4 * self.stride as u32, texture: texture.clone() })
    }

    /// Makes probabilities of one of `logits`, `[prompts, rows, columns]`, packs them and copies that to the
    /// host's memory, which is called `what`.
    pub fn run(
        &self,
        logits: &Tensor,
        prompt: usize,
        pack: HostStep,
        to_host: HostStep,
        what: &str,
    ) -> Result<()> {
        let mut run = self.plan.run();
        run.copy_in_part(logits, prompt, &self.logits)?;
        run.last(pack);
        run.last(to_host);
        run.submit().map_err(|error| of_another_device(error, what))
    }
}
