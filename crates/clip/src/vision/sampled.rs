//! What tells vision towers apart by their weights.

use std::cell::Cell;

use clipseg_tensor::{Checksum, Weights};
use half::f16;

use crate::{Checkpoint, ClipSegVisionConfig, Error, Result};

/// Weights of which all values are sampled; of larger ones one in [`STRIDE`].
const ALL: usize = 1 << 12;
/// Odd, so that every column of a matrix has its turn.
const STRIDE: usize = 61;

/// A checkpoint that notes what was read of it.
///
/// Values are taken in f16, so that a checkpoint and what `clipseg convert --dtype f16` makes of it are the
/// same. Not all of them, which would take as long as reading them: training changes whole matrices.
pub(super) struct Sampled<'a> {
    checkpoint: &'a Checkpoint,
    checksum: Cell<Checksum>,
}

impl<'a> Sampled<'a> {
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, checksum: Cell::default() }
    }

    /// Of the weights that were read, in their order, and all else that the outputs of `layers` depend on: 16
    /// hexadecimal digits.
    pub fn fingerprint(&self, config: &ClipSegVisionConfig, layers: &[usize]) -> String {
        let mut checksum = self.checksum.get();
        let ClipSegVisionConfig { patch_size, num_attention_heads, hidden_act, layer_norm_eps, .. } = config;
        let settings =
            format!("{patch_size} {num_attention_heads} {hidden_act:?} {layer_norm_eps} {layers:?}");
        checksum.add(settings.bytes().map(u64::from));
        checksum.digits()
    }
}

impl Weights for Sampled<'_> {
    type Error = Error;

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = self.checkpoint.floats(name, shape)?;
        let stride = if values.len() <= ALL { 1 } else { STRIDE };
        let mut checksum = self.checksum.get();
        let sample = values.iter().step_by(stride);
        checksum.add(sample.map(|&value| u64::from(f16::from_f32(value).to_bits())));
        self.checksum.set(checksum);
        Ok(values)
    }
}
