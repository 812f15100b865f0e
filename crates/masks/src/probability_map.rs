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
#[non_exhaustive]
pub enum Combination {
    /// What any of them finds: at each pixel the largest probability.
    Any,
    /// What all of them find: at each pixel the smallest probability.
    All,
}

impl ProbabilityMap {
    /// The heaviest weight by which a map is subtracted: from 1 on, what is certain there is nowhere else.
    pub const MAX_WEIGHT: f32 = 1000.0;
    /// The share of the pixels by which [`presence`](Self::presence) judges.
    pub const PRESENCE_SHARE: f64 = 0.002;

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

    /// How sure the map is that what it is of is in the picture at all, 0..=1: the mean of its largest probabilities, those of
    /// [`PRESENCE_SHARE`](Self::PRESENCE_SHARE) of the pixels; 0 where there are no pixels.
    ///
    /// It is meant for a map of the size that the model answers in. It asks the same of large and of small things: that some
    /// part of them is certain. 0.2 % of the pixels is about one patch of the published models. The score ranks; it is not a
    /// probability. From which value on something is there differs from model to model: `clipseg eval --tune` measures it. On the scenes of this repository's small model (data set 3, 500 scenes, 1606 prompts for what is there and 394
    /// for what is not) the area under its ROC curve is 0.977, as for shares from 0.05 to 2 % (0.976 to 0.978), and above the
    /// mean probability (0.953) and the area over 0.5 (0.946). Other models' have not been measured.
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
