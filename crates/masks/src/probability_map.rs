use crate::mask::checked_area;
use crate::{Error, Mask};

/// For each pixel of a picture the probability that it belongs to something; several are combined pixel by pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbabilityMap {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

/// What several prompts for one thing make together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// What any of them finds: at each pixel the largest probability.
    Any,
    /// What all of them find: at each pixel the smallest probability.
    All,
}

impl ProbabilityMap {
    /// The heaviest weight by which a map is subtracted: from 1 on, what is certain there is nowhere else.
    pub const MAX_WEIGHT: f32 = 1000.0;

    /// A map of its probabilities, row by row. A side may be zero.
    ///
    /// # Errors
    /// [`Error::Length`] when there are not `width * height` of them; [`Error::TooLarge`] when these are more than
    /// 2³¹ - 1; [`Error::Probability`] for a value that is not within 0..=1.
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

    /// The largest probability; 0 where there are no pixels.
    #[must_use]
    pub fn peak(&self) -> f32 {
        self.values.iter().copied().fold(0.0, f32::max)
    }

    /// Combines the map with another prompt's.
    ///
    /// # Errors
    /// [`Error::Sizes`] when the other is of another size.
    pub fn combine(&mut self, other: &Self, combination: Combination) -> Result<(), Error> {
        match combination {
            Combination::Any => self.zip(other, f32::max),
            Combination::All => self.zip(other, f32::min),
        }
    }

    /// Takes away what another prompt finds: p becomes p − `weight` · q, no less than 0, where q is the other's
    /// probability. Of several such prompts, subtract what they make by [`Combination::Any`].
    ///
    /// # Errors
    /// [`Error::Sizes`] when the other is of another size; [`Error::Probability`] for a weight that is not within
    /// 0..=[`MAX_WEIGHT`](Self::MAX_WEIGHT).
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
