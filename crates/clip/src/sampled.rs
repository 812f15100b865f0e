//! Fingerprints of a model's parts, from a sample of their weights.

use std::cell::Cell;

use clipseg_tensor::{Checksum, Weights};
use half::f16;

use crate::{Checkpoint, Error, Result};

/// Weights of at most this many values are sampled in full; from larger ones, one value in [`STRIDE`] is
/// taken.
const ALL: usize = 1 << 12;
/// Odd, so that the samples reach every column of a matrix.
const STRIDE: usize = 61;

/// A checkpoint that adds a sample of all weights read from it to a checksum, by which parts of models are
/// told apart.
///
/// Values are rounded to f16, so that a checkpoint and its conversion by `clipseg convert --dtype f16` have
/// the same checksum. A sample is enough, because training changes whole matrices, and a checksum of all
/// values would take as long as reading them.
pub struct Sampled<'a> {
    checkpoint: &'a Checkpoint,
    checksum: Cell<Checksum>,
}

impl<'a> Sampled<'a> {
    /// Weights of `checkpoint`, of which none has been read yet.
    #[must_use]
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, checksum: Cell::default() }
    }

    /// The checksum of the weights that were read so far, in the order of reading, and of `settings`, which
    /// are all else that the part's outputs depend on: 16 hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self, settings: &str) -> String {
        let mut checksum = self.checksum.get();
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
