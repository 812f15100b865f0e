use crate::{Error, Mask};

/// Which of several masks each pixel belongs to most.
///
/// Label 0 is the background; the first mask that is [added](Self::add) has label 1, the second 2, and so on.
/// Masks are added one at a time, so that those of a large photo need not be in memory together.
#[derive(Clone, Debug)]
pub struct LabelMap {
    width: usize,
    height: usize,
    count: u16,
    labels: Vec<u16>,
    /// The probability of each pixel's label; minus infinity for the background.
    best: Vec<f32>,
}

impl LabelMap {
    /// A map with nothing but background.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when there are more than 2³¹ - 1 pixels.
    pub fn new(width: usize, height: usize) -> Result<Self, Error> {
        let area = crate::mask::checked_area(width, height)?;
        Ok(Self { width, height, count: 0, labels: vec![0; area], best: vec![f32::NEG_INFINITY; area] })
    }

    /// Assigns the next label, which is returned, to the pixels of `mask` whose value in `probabilities` (row
    /// by row) is larger than for every earlier mask. Ties keep the lower label.
    ///
    /// # Errors
    /// [`Error::Sizes`] and [`Error::Length`] when mask or probabilities do not have the map's size;
    /// [`Error::TooManyLabels`] for the 65536th mask. The map is then unchanged.
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

    /// The highest label so far, which is the number of masks.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// `[height, width]`, row by row.
    #[must_use]
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The labels as bytes, row by row, if there are at most 255 of them.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let is_small = u8::try_from(self.count).is_ok();
        is_small.then(|| self.labels.iter().map(|&label| label as u8).collect())
    }

    /// Number of pixels of each label, the background first.
    #[must_use]
    pub fn areas(&self) -> Vec<usize> {
        let mut areas = vec![0; usize::from(self.count) + 1];
        for &label in &self.labels {
            areas[usize::from(label)] += 1;
        }
        areas
    }
}
