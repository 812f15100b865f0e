use crate::mask::checked_area;
use crate::{Error, Mask};

/// The probability of each pixel of a picture that it belongs to something. Maps can be combined pixel by
/// pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbabilityMap {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

/// How several prompts for one thing are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Combination {
    /// What any of them finds: at each pixel the largest probability.
    Any,
    /// What all of them find: at each pixel the smallest probability.
    All,
}

impl ProbabilityMap {
    /// The largest weight with which a map can be subtracted. With a weight of 1 or more, a pixel that is
    /// certain in the subtracted map becomes 0.
    pub const MAX_WEIGHT: f32 = 1000.0;
    /// The share of the pixels that [`presence`](Self::presence) uses.
    pub const PRESENCE_SHARE: f64 = 0.002;

    /// A map from its probabilities, row by row. A side may be zero.
    ///
    /// # Errors
    /// [`Error::Length`] when there are not `width * height` values; [`Error::TooLarge`] when that is more
    /// than 2³¹ - 1; [`Error::Probability`] for a value that is not within 0..=1.
    pub fn new(width: usize, height: usize, values: Vec<f32>) -> Result<Self, Error> {
        if values.len() != checked_area(width, height)? {
            return Err(Error::Length { width, height, values: values.len() });
        }
        if let Some(value) = values.iter().find(|value| !(0.0..=1.0).contains(*value)) {
            return Err(Error::Probability(format!(
                "a probability of {value}; probabilities lie within 0..=1"
            )));
        }
        Ok(Self { width, height, values })
    }

    /// Columns of pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// `[height, width]`, row by row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The largest probability; 0 if there are no pixels.
    #[must_use]
    pub fn peak(&self) -> f32 {
        self.values.iter().copied().fold(0.0, f32::max)
    }

    /// How certain the map is that its object is in the picture at all, 0..=1: the mean of its largest
    /// probabilities, taken over [`PRESENCE_SHARE`](Self::PRESENCE_SHARE) of the pixels; 0 if there are no
    /// pixels.
    ///
    /// It is meant for a map at the model's output size. It requires the same of large and small objects:
    /// that some part of them is certain. 0.2 % of the pixels is about one patch of the published models. The
    /// score ranks; it is not a probability. The value above which an object is present differs between
    /// models; `clipseg eval --tune` measures it. On the scenes of this repository's small model (data set 3,
    /// 500 scenes, 1606 prompts for objects that are present and 394 for absent ones) the area under its ROC
    /// curve is 0.977. Shares from 0.05 to 2 % give nearly the same (0.976 to 0.978); the mean probability
    /// (0.953) and the area above 0.5 (0.946) are worse. Other models have not been measured.
    #[must_use]
    pub fn presence(&self) -> f32 {
        if self.values.is_empty() {
            return 0.0;
        }
        let count = ((self.values.len() as f64 * Self::PRESENCE_SHARE).round() as usize).max(1);
        let mut values = self.values.clone();
        values.select_nth_unstable_by(count - 1, |one, other| other.total_cmp(one));
        let sum: f64 = values[..count].iter().copied().map(f64::from).sum();
        (sum / count as f64) as f32
    }

    /// Combines the map with that of another prompt.
    ///
    /// # Errors
    /// [`Error::Sizes`] when the other has another size.
    pub fn combine(&mut self, other: &Self, combination: Combination) -> Result<(), Error> {
        match combination {
            Combination::Any => self.zip(other, f32::max),
            Combination::All => self.zip(other, f32::min),
        }
    }

    /// Subtracts what another prompt finds: p becomes p − `weight` · q, but at least 0, where q is the other
    /// map's probability. If there are several such prompts, combine them by [`Combination::Any`] first.
    ///
    /// # Errors
    /// [`Error::Sizes`] when the other has another size; [`Error::Probability`] for a weight that is not
    /// within 0..=[`MAX_WEIGHT`](Self::MAX_WEIGHT).
    pub fn subtract(&mut self, other: &Self, weight: f32) -> Result<(), Error> {
        if !(0.0..=Self::MAX_WEIGHT).contains(&weight) {
            let most = Self::MAX_WEIGHT;
            return Err(Error::Probability(format!("a weight of {weight}; weights lie within 0..={most}")));
        }
        self.zip(other, |one, other| (one - weight * other).clamp(0.0, 1.0))
    }

    /// The pixels whose probability is at least `threshold`.
    #[must_use]
    pub fn mask(&self, threshold: f32) -> Mask {
        let pixels = self.values.iter().map(|&value| value >= threshold).collect();
        Mask::of_checked(self.width, self.height, pixels)
    }

    fn zip(&mut self, other: &Self, both: impl Fn(f32, f32) -> f32) -> Result<(), Error> {
        let (expected, found) = ((self.width, self.height), (other.width, other.height));
        if expected != found {
            return Err(Error::Sizes { expected, found });
        }
        for (value, &other) in self.values.iter_mut().zip(&other.values) {
            *value = both(*value, other);
        }
        Ok(())
    }
}
