//! What encoding takes: the images that fit into one call, and the memory that a batch needs.

use clipseg_tensor::{Linear, MemoryUse, Recorder};

use super::{Key, PlanOutputs, VisionEncoder};
use crate::Result;

impl VisionEncoder {
    /// The most images of `height` by `width` pixels that fit into one call on this device; callers split
    /// larger batches.
    #[must_use]
    pub fn image_limit(&self, height: usize, width: usize) -> usize {
        let (rows, columns) = self.grid(height, width);
        let tokens = rows.saturating_mul(columns).saturating_add(1);
        // The widest tensors of an image are its pixels, the hidden layer of an MLP, and the fused queries,
        // keys and values.
        let widest = self.config.intermediate_size.max(3 * self.config.hidden_size);
        let pixels = height.saturating_mul(width).saturating_mul(self.config.num_channels);
        let values = tokens.saturating_mul(widest).max(pixels);
        let limit = self.device.limits().max_storage_buffer_binding_size as usize / 4;
        let rows = self.device.row_limit().unwrap_or(usize::MAX);
        (rows / tokens).min(limit / values.max(1)).max(1)
    }

    /// The memory that [`encode`](Self::encode) takes for a batch of images of one size: a plan, unless it
    /// exists already, and the encoded image.
    ///
    /// # Errors
    /// [`TooLarge`](clipseg_tensor::Error::TooLarge) and [`Shape`](clipseg_tensor::Error::Shape) beyond the
    /// adapter's limits.
    pub fn memory_needed(&self, batch: usize, height: usize, width: usize) -> Result<MemoryUse> {
        let key = Key { batch, height, width, outputs: PlanOutputs::Activations };
        // First, as it refuses sizes that are too large to be multiplied.
        let plans = self.plan_bytes(&key)?;
        let (rows, columns) = self.grid(height, width);
        let activation = 4 * (batch * (1 + rows * columns) * self.config.hidden_size) as u64;
        let encoded_images = self.extracted.len() as u64 * activation.next_multiple_of(16);
        Ok(MemoryUse { plans, encoded_images, ..MemoryUse::default() })
    }

    /// The memory that [`embed`](Self::embed) takes for a batch of images of one size: a plan, unless it
    /// exists already, and the buffer for reading back the embeddings.
    ///
    /// # Errors
    /// As [`memory_needed`](Self::memory_needed).
    pub fn embedding_memory_needed(&self, batch: usize, height: usize, width: usize) -> Result<MemoryUse> {
        let key = Key { batch, height, width, outputs: PlanOutputs::Embedding };
        let plans = self.plan_bytes(&key)?;
        let embedding = self.projection.as_ref().map_or(0, Linear::out_features);
        let read_back = 4 * (batch * embedding) as u64;
        Ok(MemoryUse { plans, read_back, ..MemoryUse::default() })
    }

    fn plan_bytes(&self, key: &Key) -> Result<u64> {
        let mut resized_positions = 0;
        let record = |recorder: &mut Recorder| -> clipseg_tensor::Result<_> {
            let tensors = self.record_in(recorder, key)?;
            resized_positions = tensors.resized_positions.as_ref().map_or(0, |table| 4 * table.len() as u64);
            Ok(tensors)
        };
        let plan = self.plans.bytes_needed(&self.device, key, record)?;
        Ok(plan + resized_positions)
    }
}
