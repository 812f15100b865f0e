use std::sync::Arc;

use clipseg_masks::{LabelMap, Mask, ProbabilityMap};
use clipseg_tensor::{Array, Device};

use crate::map_plans::MapPlans;
use crate::maps::{Maps, cut};
use crate::{Error, Result};

/// The logits of several prompts on one image, and the probabilities, masks and maps made of them.
#[derive(Clone)]
pub struct Segmentation {
    plans: Arc<MapPlans>,
    logits: Array,
}

impl Segmentation {
    /// A segmentation from logits at hand, `[prompts, height, width]`, which will be resized on `device`.
    ///
    /// # Errors
    /// [`Error::Input`] when the logits have another shape, or their values do not fit it.
    pub fn from_logits(device: &Device, logits: Array) -> Result<Self> {
        if logits.shape.len() != 3 || !logits.is_consistent() {
            let (shape, values) = (&logits.shape, logits.values.len());
            let message = format!("{values} logits of shape {shape:?}, expected [prompts, height, width]");
            return Err(Error::Input(message));
        }
        Ok(Self::new(&MapPlans::new(device), logits))
    }

    pub(crate) fn new(plans: &Arc<MapPlans>, logits: Array) -> Self {
        Self { plans: Arc::clone(plans), logits }
    }

    /// The same prompts with other logits.
    pub(crate) fn with_logits(&self, logits: Array) -> Self {
        Self::new(&self.plans, logits)
    }

    pub(crate) fn plans(&self) -> &MapPlans {
        &self.plans
    }

    /// `[prompts, height, width]`
    #[must_use]
    pub fn logits(&self) -> &Array {
        &self.logits
    }

    /// The number of prompts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logits.shape[0]
    }

    /// Whether there are no prompts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows of pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.logits.shape[1]
    }

    /// Columns of pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.logits.shape[2]
    }

    /// The segmentation of one prompt alone, for example to resize many one after the other and spare memory.
    ///
    /// # Panics
    /// When there is no such prompt.
    #[must_use]
    pub fn prompt(&self, prompt: usize) -> Self {
        let values = self.logits.slice(prompt).to_vec();
        self.with_logits(Array { shape: vec![1, self.height(), self.width()], values })
    }

    /// The probability, 0..=1, that each pixel belongs to the object of prompt `prompt`; row by row.
    ///
    /// # Panics
    /// When there is no such prompt.
    #[must_use]
    pub fn probabilities(&self, prompt: usize) -> Vec<f32> {
        self.logits.slice(prompt).iter().map(|&logit| sigmoid(logit)).collect()
    }

    /// [`probabilities`](Self::probabilities) with their size, to be combined with those of other prompts and
    /// made into a mask.
    ///
    /// # Errors
    /// [`Error::Input`] when there are more than 2³¹ - 1 pixels, or a logit is not a number.
    ///
    /// # Panics
    /// When there is no such prompt.
    pub fn probability_map(&self, prompt: usize) -> Result<ProbabilityMap> {
        ProbabilityMap::new(self.width(), self.height(), self.probabilities(prompt)).map_err(input)
    }

    /// How sure the model is that the object of prompt `prompt` is in the photo at all, 0..=1: the
    /// [presence](ProbabilityMap::presence) of its probabilities. It is meant for the model's own logits,
    /// before they are resized.
    ///
    /// # Errors
    /// As [`probability_map`](Self::probability_map).
    ///
    /// # Panics
    /// When there is no such prompt.
    pub fn presence(&self, prompt: usize) -> Result<f32> {
        Ok(self.probability_map(prompt)?.presence())
    }

    /// Whether each pixel's probability is at least `threshold`; row by row.
    ///
    /// # Panics
    /// When there is no such prompt.
    #[must_use]
    pub fn mask(&self, prompt: usize, threshold: f32) -> Vec<bool> {
        self.logits.slice(prompt).iter().map(|&logit| sigmoid(logit) >= threshold).collect()
    }

    /// [`mask`](Self::mask) with its size, from which polygons, components and run lengths can be made.
    ///
    /// # Errors
    /// [`Error::Input`] when there are more than 2³¹ - 1 pixels.
    ///
    /// # Panics
    /// When there is no such prompt.
    pub fn binary_mask(&self, prompt: usize, threshold: f32) -> Result<Mask> {
        Mask::new(self.width(), self.height(), self.mask(prompt, threshold)).map_err(input)
    }

    /// Labels each pixel with its most probable prompt, the first of equals: the label is the prompt's
    /// position plus one, or 0 where no prompt reaches `threshold`.
    ///
    /// At a photo's size and with many prompts, rather add the prompts to a [`LabelMap`] one after the other,
    /// each [on its own](Self::prompt) and [resized](Self::resized_async).
    ///
    /// # Errors
    /// [`Error::Input`] when there are more than 65535 prompts or 2³¹ - 1 pixels.
    pub fn label_map(&self, threshold: f32) -> Result<LabelMap> {
        let mut map = LabelMap::new(self.width(), self.height()).map_err(input)?;
        for prompt in 0..self.len() {
            let mask = self.binary_mask(prompt, threshold)?;
            map.add(&mask, &self.probabilities(prompt)).map_err(input)?;
        }
        Ok(map)
    }

    /// The same segmentation at another size, most often the photo's: the device interpolates the logits
    /// bilinearly, one prompt at a time.
    ///
    /// # Errors
    /// When a side is zero; [`Error::Input`] when there are more than 2³¹ - 1 pixels; the device's.
    #[cfg(not(target_family = "wasm"))]
    pub fn resized(&self, width: usize, height: usize) -> Result<Self> {
        clipseg_tensor::block_on(self.resized_async(width, height))
    }

    /// [`resized`](Self::resized), asynchronously.
    ///
    /// # Errors
    /// As [`resized`](Self::resized).
    pub async fn resized_async(&self, width: usize, height: usize) -> Result<Self> {
        let mut maps = Maps::new(self.len(), height, width)?;
        // One tile at a time: the map of a large photo exceeds what an adapter binds in one piece.
        for key in self.plans.resizes((self.height(), self.width()), (height, width)) {
            let plan = self.plans.resize(&key)?;
            for prompt in 0..self.len() {
                let reading = {
                    let mut run = plan.plan.run();
                    run.write(&plan.input, &cut(self.logits.slice(prompt), &key.from))?;
                    run.finish(&[&plan.output])
                };
                let resized = reading.await?.swap_remove(0);
                maps.paste(prompt, &key.to, &resized.values);
            }
        }
        Ok(self.with_logits(maps.into_array()))
    }
}

impl std::fmt::Debug for Segmentation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segmentation").field("logits", &self.logits).finish_non_exhaustive()
    }
}

fn input(error: clipseg_masks::Error) -> Error {
    Error::Input(error.to_string())
}

/// Takes the exponential of negative numbers alone, which cannot overflow.
pub(crate) fn sigmoid(logit: f32) -> f32 {
    let tail = (-logit.abs()).exp();
    if logit >= 0.0 { 1.0 / (1.0 + tail) } else { tail / (1.0 + tail) }
}

#[cfg(test)]
mod tests {
    use clipseg_tensor::DeviceOptions;

    use super::*;

    #[test]
    fn masks_and_labels_follow_the_probabilities() {
        let device = Device::open(&DeviceOptions::default()).unwrap();
        let logits = Array { shape: vec![2, 1, 4], values: vec![-1.0, 0.0, 2.0, 3.0, -2.0, 0.5, 2.0, -1.0] };
        let segmentation = Segmentation::from_logits(&device, logits).unwrap();
        for prompt in 0..2 {
            let mask = segmentation.binary_mask(prompt, 0.5).unwrap();
            assert_eq!((mask.width(), mask.height()), (4, 1));
            assert_eq!(mask.pixels(), segmentation.mask(prompt, 0.5));
        }
        let map = segmentation.label_map(0.5).unwrap();
        assert_eq!(map.labels(), [0, 2, 1, 1]);
        assert_eq!(map.count(), 2);
    }
}
