use crate::{Connectivity, Error, Mask, ProbabilityMap};

/// How a mask is made of probabilities.
///
/// The order of all steps, from a model's answers to a mask:
///
/// 1. The answers of windows, and of frames over time, are averaged, then drawn at the photo's size, along
///    its edges where that is asked for. The next steps work on probabilities at that size: a difference of
///    logits is not one of probabilities, and to resize afterwards would smooth the kinks that maxima and
///    differences have.
/// 2. Prompts for one thing are [combined](ProbabilityMap::combine).
/// 3. [Negative prompts](ProbabilityMap::subtract) are taken from that. As the same is taken from all, it
///    would be no different before 2.
/// 4. `threshold` makes a mask, or an empty one is taken where the [presence](ProbabilityMap::presence) is
///    too low. The probabilities stay as they are from here on.
/// 5. `invert` turns the mask, not the probabilities, into what is left over: exactly the other pixels,
///    whatever the threshold.
/// 6. `min_area` drops small parts: before 7, so that specks do not grow.
/// 7. `grow` moves the edge.
/// 8. `feather` makes a soft edge of where it now is; areas, boxes and polygons are of the mask before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskOptions {
    /// Probability, 0..=1, from which a pixel belongs to the mask.
    pub threshold: f32,
    /// Whether the mask is of the pixels that do not reach the threshold.
    pub invert: bool,
    /// Pixels that a connected part (of eight neighbours) has at least.
    pub min_area: usize,
    /// Pixels by which the mask [grows](Mask::grown); below 0 it [shrinks](Mask::shrunk) by as many.
    pub grow: f64,
    /// Pixels to either side of its edge over which the mask [fades](Mask::feathered).
    pub feather: f64,
}

impl Default for MaskOptions {
    /// What reaches 0.5, and nothing else done to it.
    fn default() -> Self {
        Self { threshold: 0.5, invert: false, min_area: 1, grow: 0.0, feather: 0.0 }
    }
}

impl MaskOptions {
    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Probability`] for a threshold that is not within 0..=1; [`Error::Distance`] for distances
    /// beyond [`Mask::MAX_DISTANCE`], or a feather below 0.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { threshold, grow, feather, .. } = self;
        if !(0.0..=1.0).contains(threshold) {
            return Err(Error::Probability(format!(
                "a threshold of {threshold}; thresholds lie within 0..=1"
            )));
        }
        let distances = 0.0..=Mask::MAX_DISTANCE;
        match [grow.abs(), *feather].into_iter().find(|distance| !distances.contains(distance)) {
            Some(distance) => Err(Error::Distance(distance.to_string())),
            None => Ok(()),
        }
    }

    /// The mask, its edge still hard.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn mask(&self, probabilities: &ProbabilityMap) -> Result<Mask, Error> {
        self.validate()?;
        self.shape(probabilities.mask(self.threshold))
    }

    /// What [`mask`](Self::mask) does after the threshold: for a mask that was made otherwise, as the empty
    /// one of a prompt whose [presence](ProbabilityMap::presence) is too low.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn shape(&self, mut mask: Mask) -> Result<Mask, Error> {
        self.validate()?;
        if self.invert {
            mask = mask.inverted();
        }
        if self.min_area > 1 {
            mask = mask.without_small(self.min_area, Connectivity::Eight);
        }
        Ok(match self.grow {
            0.0 => mask,
            grow if grow > 0.0 => mask.grown(grow)?,
            grow => mask.shrunk(-grow)?,
        })
    }

    /// How much each pixel belongs to the mask, 0..=1, row by row; nothing where its edge stays hard.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn soft(&self, mask: &Mask) -> Result<Option<Vec<f32>>, Error> {
        self.validate()?;
        if self.feather == 0.0 { Ok(None) } else { mask.feathered(self.feather).map(Some) }
    }
}
