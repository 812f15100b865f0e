use crate::{Connectivity, Error, Mask, ProbabilityMap};

/// How a mask is made from probabilities.
///
/// The order of all steps, from a model's outputs to a mask:
///
/// 1. The outputs for windows, and for video frames over time, are averaged, then resized to the photo, along
///    its edges if that is asked for. The next steps work on probabilities at that size: a difference of
///    logits is not a difference of probabilities, and resizing later would smooth the kinks of maxima and
///    differences.
/// 2. Several prompts for one thing are [combined](ProbabilityMap::combine).
/// 3. [Negative prompts](ProbabilityMap::subtract) are subtracted from that. Because the same is subtracted
///    from all, doing so before step 2 would give the same result.
/// 4. `threshold` makes a mask; if the [presence](ProbabilityMap::presence) is too low, an empty mask is used
///    instead. The probabilities no longer change after this.
/// 5. `invert` inverts the mask, not the probabilities: the result is exactly the other pixels, whatever the
///    threshold.
/// 6. `min_area` drops small components; before step 7, so that specks do not grow.
/// 7. `grow` moves the edge.
/// 8. `feather` softens the edge where it is now; areas, boxes and polygons are those of the mask before this
///    step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskOptions {
    /// Probability, 0..=1, from which a pixel belongs to the mask.
    pub threshold: f32,
    /// Whether the mask consists of the pixels below the threshold instead.
    pub invert: bool,
    /// Fewest pixels of a connected component (with eight neighbours).
    pub min_area: usize,
    /// Pixels by which the mask [grows](Mask::grown); if negative, by which it [shrinks](Mask::shrunk).
    pub grow: f64,
    /// Pixels on either side of its edge over which the mask [fades](Mask::feathered).
    pub feather: f64,
}

impl Default for MaskOptions {
    /// A threshold of 0.5 and no other step.
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

    /// The mask after all steps but `feather`.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn mask(&self, probabilities: &ProbabilityMap) -> Result<Mask, Error> {
        self.validate()?;
        self.shape(probabilities.mask(self.threshold))
    }

    /// The steps of [`mask`](Self::mask) after the threshold, for a mask that was made in another way, such
    /// as the empty one of a prompt whose [presence](ProbabilityMap::presence) is too low.
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

    /// How much each pixel belongs to the mask, 0..=1, row by row; `None` if its edge stays hard.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn soft(&self, mask: &Mask) -> Result<Option<Vec<f32>>, Error> {
        self.validate()?;
        if self.feather == 0.0 { Ok(None) } else { mask.feathered(self.feather).map(Some) }
    }
}
