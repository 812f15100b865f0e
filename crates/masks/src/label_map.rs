use crate::{Error, Mask};

/// Which of several masks each pixel belongs to most.
///
/// Label 0 is the background; the first mask that is [added](Self::add) has label 1, the second 2, and so on.
/// They are added one after the other, so that maps of large photos need not be in memory together.
#[derive(Clone, Debug)]
pub struct LabelMap {
    width: usize,
    height: usize,
    count: u16,
    labels: Vec<u16>,
    /// The probability of the label that each pixel has; minus infinity for the background.
    best: Vec<f32>,
}

impl LabelMap {
    /// A map that is all background.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when there are more than 2³¹ - 1 pixels.
    pub fn new(width: usize, height: usize) -> Result<Self, Error> {
        let area = crate::mask::checked_area(width, height)?;
        Ok(Self { width, height, count: 0, labels: vec![0; area], best: vec![f32::NEG_INFINITY; area] })
    }

    /// Gives the next label, which is returned, to the pixels of `mask` whose value in `probabilities` (row
    /// by row) is larger than for every mask before. Equal ones stay with the lower label.
    ///
    /// # Errors
    /// [`Error::Sizes`] and [`Error::Length`] when mask or probabilities are not of the map's size;
    /// [`Error::TooManyLabels`] for the 65536th mask. The map is then as it was.
    pub fn add(&mut self, mask: &Mask, probabilities: &[f32]) -> Result<u16, Error> {
        let (width, height) = (self.width, self.height);
        if (mask.width(), mask.height()) != (width, height) {
            let found = (mask.width(), mask.height());
            return Err(Error::Sizes { expected: (width, height), found });
        }
        if probabilities.len() != self.labels.len() {
            return Err(Error::Length { width, height, values: probabilities.len() });
        }
        self.count = self.count.checked_add(1).ok_or(Error::TooManyLabels)?;
        let pixels = self.labels.iter_mut().zip(&mut self.best);
        for ((label, best), (&inside, &probability)) in pixels.zip(mask.pixels().iter().zip(probabilities)) {
            if inside && probability > *best {
                (*label, *best) = (self.count, probability);
            }
        }
        Ok(self.count)
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

    /// The highest label that was given: the number of masks.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// `[height, width]`, row by row.
    #[must_use]
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The labels as bytes, row by row, where there are no more than 255.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let is_small = u8::try_from(self.count).is_ok();
        is_small.then(|| self.labels.iter().map(|&label| label as u8).collect())
    }

    /// How many pixels each label has, the background's first.
    #[must_use]
    pub fn areas(&self) -> Vec<usize> {
        let mut areas = vec![0; usize::from(self.count) + 1];
        for &label in &self.labels {
            areas[usize::from(label)] += 1;
        }
        areas
    }
}
