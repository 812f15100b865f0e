use clipseg_tensor::Tile;

use crate::maps::{Maps, cut};
use crate::{Error, Photo, Resample, Result, Segmentation};

/// The largest radius: more than half of the model's picture to each side. So much always fits on a device.
const MAX_RADIUS: usize = 256;

/// How [`Segmentation::refined`] follows a photo's edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refinement {
    /// How far the filter looks to each side, 1..=256 pixels of the logits. It should be about as far as
    /// edges are off, which is half a patch of the model.
    pub radius: usize,
    /// The variance of the colours (in 0..=1) in a window below which they count as one colour. Less makes
    /// masks follow fainter edges, and noise.
    pub epsilon: f32,
}

impl Default for Refinement {
    fn default() -> Self {
        Self { radius: 8, epsilon: 1e-3 }
    }
}

impl Refinement {
    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Input`] for a radius outside 1..=256, or an epsilon outside 0.000001..=1.
    pub fn validate(self) -> Result<()> {
        let Self { radius, epsilon } = self;
        if !(1..=MAX_RADIUS).contains(&radius) {
            let message = format!("a refinement's radius lies in 1..={MAX_RADIUS} pixels, not at {radius}");
            return Err(Error::Input(message));
        }
        if !(1e-6..=1.0).contains(&epsilon) {
            return Err(Error::Input(format!(
                "a refinement's epsilon lies in 0.000001..=1, not at {epsilon}"
            )));
        }
        Ok(())
    }
}

impl Segmentation {
    /// The same segmentation at the photo's size, its edges drawn to the photo's edges by the fast guided
    /// filter (He and Sun 2015). The photo's colours are the guide, and the probabilities are filtered; they
    /// end within 0.0001..=0.9999.
    ///
    /// Masks follow edges that [`resized`](Self::resized) rounds off; but where an object has the colour of
    /// its surroundings, or a texture of strong contrast, they may be worse.
    ///
    /// # Errors
    /// As [`Refinement::validate`]; the device's.
    #[cfg(not(target_family = "wasm"))]
    pub fn refined(&self, photo: &Photo, refinement: Refinement) -> Result<Self> {
        clipseg_tensor::block_on(self.refined_async(photo, refinement))
    }

    /// [`refined`](Self::refined), asynchronously.
    ///
    /// # Errors
    /// As [`refined`](Self::refined).
    pub async fn refined_async(&self, photo: &Photo, refinement: Refinement) -> Result<Self> {
        refinement.validate()?;
        let from = (self.height(), self.width());
        let coarse = photo.resized(self.width(), self.height(), Resample::Bilinear);
        let mut maps = Maps::new(self.len(), photo.height(), photo.width())?;
        for key in self.plans().refinements(from, (photo.height(), photo.width()), refinement) {
            let plan = self.plans().refinement(&key)?;
            let (coarse_guide, guide) = (planes(&coarse, &key.from), planes(photo, &key.to));
            for prompt in 0..self.len() {
                let reading = {
                    let mut run = plan.plan.run();
                    run.write(&plan.coarse_guide, &coarse_guide)?;
                    run.write(&plan.guide, &guide)?;
                    run.write(&plan.logits, &cut(self.logits().slice(prompt), &key.from))?;
                    run.finish(&[&plan.output])
                };
                let refined = reading.await?.swap_remove(0);
                maps.paste(prompt, &key.to, &refined.values);
            }
        }
        Ok(self.with_logits(maps.into_array()))
    }
}

/// A tile of a picture, `[3, rows, columns]` in -0.5..=0.5: around 0, variances lose the least to rounding.
fn planes(photo: &Photo, tile: &Tile) -> Vec<f32> {
    let mut values = Vec::with_capacity(3 * tile.pixels());
    for channel in 0..3 {
        for row in tile.rows.clone() {
            let start = row * photo.width();
            let bytes = &photo.rgb()[3 * (start + tile.columns.start)..3 * (start + tile.columns.end)];
            let (pixels, _) = bytes.as_chunks::<3>();
            values.extend(pixels.iter().map(|pixel| f32::from(pixel[channel]) / 255.0 - 0.5));
        }
    }
    values
}
