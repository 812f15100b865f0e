use std::ops::Range;

use clipseg_tensor::{Array, Recorder};

use crate::{Error, Photo, Resample, Result, Segmentation};

/// How [`Segmentation::refined`] follows a photo's edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refinement {
    /// How far the filter looks to each side, in pixels of the logits. About as far as edges lie off: half a patch of the model.
    pub radius: usize,
    /// The variance of colours (of 0..=1) in a window below which they are one colour: less follows fainter edges, and noise.
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
    /// [`Error::Input`] for a radius of 0, or an epsilon outside 0.000001..=1.
    pub fn validate(self) -> Result<()> {
        let Self { radius, epsilon } = self;
        if radius == 0 {
            return Err(Error::Input("a refinement needs a radius of at least 1 pixel".to_owned()));
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
    /// The same at the photo's size, its edges drawn to the photo's: the fast guided filter (He and Sun 2015), with the photo's
    /// colours as the guide and the probabilities as what is filtered. These end within 0.0001..=0.9999.
    ///
    /// Masks follow edges that [`resized`](Self::resized) rounds off; but where an object has the colour of what is around it,
    /// or a texture of strong contrast, they may be worse.
    ///
    /// # Errors
    /// As [`Refinement::validate`]; the device's.
    #[cfg(not(target_family = "wasm"))]
    pub fn refined(&self, photo: &Photo, refinement: Refinement) -> Result<Self> {
        pollster::block_on(self.refine(photo, refinement))
    }

    /// [`refined`](Self::refined), asynchronously.
    ///
    /// # Errors
    /// As [`refined`](Self::refined).
    pub async fn refine(&self, photo: &Photo, refinement: Refinement) -> Result<Self> {
        refinement.validate()?;
        let (height, width) = (photo.height(), photo.width());
        let coarse = photo.resized(self.width(), self.height(), Resample::Bilinear);
        let coarse = planes(&coarse, 0..self.height());
        // A band at a time, as `resize` does; the coefficients of a pixel are four numbers.
        let limit = self.device().limits().max_storage_buffer_binding_size as usize;
        let band = (limit / (4 * 4 * width)).clamp(1, height);
        let mut values = vec![0.0; self.len() * height * width];
        for first_row in (0..height).step_by(band) {
            let rows = first_row..height.min(first_row + band);
            let mut recorder = Recorder::new(self.device());
            let coarse_guide = recorder.input(&[3, self.height(), self.width()])?;
            let guide = recorder.input(&[3, rows.len(), width])?;
            let logits = recorder.input(&[self.height(), self.width()])?;
            let Refinement { radius, epsilon } = refinement;
            let coefficients = recorder.guided_coefficients(&coarse_guide, &logits, radius, epsilon)?;
            let coefficients = recorder.bilinear_resize(&coefficients, (height, width), rows.clone())?;
            let output = recorder.guided_apply(&coefficients, &guide)?;
            let output = recorder.output(&output)?;
            let plan = recorder.finish()?;
            let colours = planes(photo, rows);
            for prompt in 0..self.len() {
                let mut run = plan.run();
                run.write(&coarse_guide, &coarse)?;
                run.write(&guide, &colours)?;
                run.write(&logits, self.logits().slice(prompt))?;
                let refined = run.finish(&[&output]).await?.swap_remove(0);
                let start = (prompt * height + first_row) * width;
                values[start..start + refined.values.len()].copy_from_slice(&refined.values);
            }
        }
        let logits = Array { shape: vec![self.len(), height, width], values };
        Ok(self.with_logits(logits))
    }
}

/// Some rows of a picture, `[3, rows, width]` in -0.5..=0.5: around 0, variances lose the least to rounding.
fn planes(photo: &Photo, rows: Range<usize>) -> Vec<f32> {
    let row_bytes = 3 * photo.width();
    let (pixels, _) = photo.rgb()[rows.start * row_bytes..rows.end * row_bytes].as_chunks::<3>();
    (0..3)
        .flat_map(|channel| pixels.iter().map(move |pixel| f32::from(pixel[channel]) / 255.0 - 0.5))
        .collect()
}
