//! Random inputs: images of any grid, texts that end early and are padded.

use clipseg::{ClipSegConfig, ImageInput, TextInput};
use clipseg_tests::{random, random_ids};
use proptest::prelude::*;

/// Sizes of a batch, from which the inputs follow.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    pub size: usize,
    /// Rows and columns of patches.
    pub grid: (usize, usize),
    /// Pixels beyond the patches.
    pub remainder: usize,
    pub length: usize,
    pub masked: bool,
    pub seed: u64,
}

pub fn batches() -> impl Strategy<Value = Batch> {
    (1usize..4, (1usize..4, 1usize..4), 0usize..3, 2usize..10, any::<bool>(), any::<u64>()).prop_map(
        |(size, grid, remainder, length, masked, seed)| Batch { size, grid, remainder, length, masked, seed },
    )
}

/// A batch of images, and a text for each.
pub struct Inputs {
    pub batch: usize,
    pub grid: (usize, usize),
    pub height: usize,
    pub width: usize,
    pub pixels: Vec<f32>,
    pub length: usize,
    pub ids: Vec<u32>,
    /// Empty for no mask.
    pub mask: Vec<u32>,
}

impl Inputs {
    pub fn new(config: &ClipSegConfig, batch: Batch) -> Self {
        let Batch { size, grid, remainder, length, masked, seed } = batch;
        let (patch, end) = (config.vision_config.patch_size, config.text_config.eos_token_id);
        let (height, width) = (grid.0 * patch + remainder, grid.1 * patch + remainder);
        let mut ids = random_ids(seed, size, length, end);
        let mut mask = Vec::new();
        if masked {
            mask = vec![1; ids.len()];
            for (text, (ids, mask)) in ids.chunks_mut(length).zip(mask.chunks_mut(length)).enumerate() {
                let last = (seed as usize % length + text) % length;
                ids[last..].fill(end);
                mask[last + 1..].fill(0);
            }
        }
        let pixels = random(!seed, size * config.vision_config.num_channels * height * width);
        Self { batch: size, grid, height, width, pixels, length, ids, mask }
    }

    pub fn images(&self) -> ImageInput<'_> {
        let Self { batch, height, width, .. } = *self;
        ImageInput { pixel_values: &self.pixels, batch, height, width }
    }

    pub fn text(&self) -> TextInput<'_> {
        TextInput {
            input_ids: &self.ids,
            length: self.length,
            attention_mask: (!self.mask.is_empty()).then_some(&self.mask),
            position_ids: None,
        }
    }
}
