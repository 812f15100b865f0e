//! Fingerprints of vision towers, from a sample of their weights.

use std::cell::Cell;

use clipseg_tensor::{Checksum, Weights};
use half::f16;

use crate::{Checkpoint, ClipSegVisionConfig, Error, Result};

/// Weights of at most this many values are sampled in full; from larger ones, one value in [`STRIDE`] is
/// taken.
const ALL: usize = 1 << 12;
/// Odd, so that the samples reach every column of a matrix.
const STRIDE: usize = 61;

/// A checkpoint that adds a sample of everything read from it to a checksum.
///
/// Values are rounded to f16, so that a checkpoint and its conversion by `clipseg convert --dtype f16` have
/// the same checksum. A sample is enough, because training changes whole matrices, and a checksum of all
/// values would take as long as reading them.
pub(super) struct Sampled<'a> {
    checkpoint: &'a Checkpoint,
    checksum: Cell<Checksum>,
}

impl<'a> Sampled<'a> {
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, checksum: Cell::default() }
    }

    /// The checksum of the weights that were read, in the order of reading, and of all else that the outputs
    /// of `layers` depend on: 16 hexadecimal digits.
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
