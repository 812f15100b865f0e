use clipseg_tensor::Array;

use crate::{Error, Result};

/// What to look for: one embedding per prompt, from text or from an image, not normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// `[prompts, projection_dim]`
    pub embeddings: Array,
}

impl Condition {
    /// The number of prompts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.embeddings.shape.first().copied().unwrap_or_default()
    }

    /// Numbers per prompt, the model's `projection_dim`.
    fn width(&self) -> usize {
        self.embeddings.shape.get(1).copied().unwrap_or_default()
    }

    /// Refuses embeddings that are not `[prompts, width]`, such as those of another model: parts of them
    /// would be taken for whole prompts.
    pub(crate) fn check(&self, width: usize) -> Result<()> {
        let Array { shape, values } = &self.embeddings;
        if *shape == [self.len(), width] && self.embeddings.is_consistent() {
            return Ok(());
        }
        Err(Error::Input(format!(
            "a condition of shape {shape:?} with {} numbers, where this model takes [prompts, {width}]; encode the prompts \
             with this model",
            values.len()
        )))
    }

    /// Whether there are no prompts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All prompts of several conditions, in their order.
    ///
    /// # Errors
    /// [`Error::Input`] when there are no conditions, or their widths differ.
    pub fn concat(conditions: &[Self]) -> Result<Self> {
        let width = conditions.first().map_or(0, Self::width);
        if conditions.iter().any(|condition| condition.check(width).is_err()) || width == 0 {
            return Err(Error::Input(
                "conditions to join need one width, and at least one of them".to_owned(),
            ));
        }
        let values = conditions.iter().flat_map(|condition| &condition.embeddings.values).copied().collect();
        let shape = vec![conditions.iter().map(Self::len).sum(), width];
        Ok(Self { embeddings: Array { shape, values } })
    }

    /// Averages every `group` consecutive prompts into one: several pictures of a thing, or a phrase in
    /// several templates.
    ///
    /// # Errors
    /// [`Error::Input`] when the prompts do not fall into groups of this size.
    pub fn means(&self, group: usize) -> Result<Self> {
        let (prompts, width) = (self.len(), self.width());
        if width == 0 || self.check(width).is_err() || group == 0 || prompts == 0 || prompts % group != 0 {
            return Err(Error::Input(format!("{prompts} conditions do not fall into groups of {group}")));
        }
        let mean = |rows: &[f32]| -> Vec<f32> {
            let sum = |column: usize| rows.iter().skip(column).step_by(width).sum::<f32>();
            (0..width).map(|column| sum(column) / group as f32).collect()
        };
        let values = self.embeddings.values.chunks_exact(group * width).flat_map(mean).collect();
        Ok(Self { embeddings: Array { shape: vec![prompts / group, width], values } })
    }

    /// `share · self + (1 − share) · other`, prompt by prompt, or each with the one prompt of `other`: the
    /// paper's mix of text (`self`) and image. A share outside 0..=1 extrapolates.
    ///
    /// # Errors
    /// [`Error::Input`] when `other` has neither one prompt nor as many as `self`, or is of another width.
    pub fn mix(&self, other: &Self, share: f32) -> Result<Self> {
        let (shape, other_shape) = (&self.embeddings.shape, &other.embeddings.shape);
        let is_sound = self.check(other.width()).is_ok() && other.check(self.width()).is_ok();
        if !is_sound || (other.len() != 1 && other.len() != self.len()) {
            return Err(Error::Input(format!(
                "conditions of shapes {shape:?} and {other_shape:?} do not mix"
            )));
        }
        let others = other.embeddings.values.iter().cycle();
        let mixed = self.embeddings.values.iter().zip(others).map(|(a, b)| share * a + (1.0 - share) * b);
        Ok(Self { embeddings: Array { shape: shape.clone(), values: mixed.collect() } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition<const N: usize>(rows: [[f32; 2]; N]) -> Condition {
        Condition { embeddings: Array { shape: vec![N, 2], values: rows.concat() } }
    }

    #[test]
    fn conditions_mix_prompt_by_prompt_or_with_one() {
        let text = condition([[1.0, 2.0], [3.0, 4.0]]);
        let image = condition([[5.0, -2.0]]);
        assert_eq!(text.mix(&image, 0.75).unwrap(), condition([[2.0, 1.0], [3.5, 2.5]]));
        assert_eq!(
            text.mix(&condition([[9.0, 9.0], [7.0, 8.0]]), 0.0).unwrap(),
            condition([[9.0, 9.0], [7.0, 8.0]])
        );
        assert_eq!(text.mix(&image, 1.0).unwrap(), text);
        assert!(image.mix(&text, 0.5).is_err());
    }

    #[test]
    fn means_are_taken_group_by_group() {
        let four = condition([[1.0, 2.0], [3.0, 6.0], [0.0, 0.0], [1.0, -2.0]]);
        assert_eq!(four.means(2).unwrap(), condition([[2.0, 4.0], [0.5, -1.0]]));
        assert_eq!(four.means(4).unwrap(), condition([[1.25, 1.5]]));
        assert!(four.means(3).is_err() && four.means(0).is_err() && condition([]).means(1).is_err());
    }

    #[test]
    fn conditions_of_one_width_join() {
        let (one, two) = (condition([[1.0, 2.0]]), condition([[3.0, 4.0], [5.0, 6.0]]));
        assert_eq!(
            Condition::concat(&[one.clone(), two]).unwrap(),
            condition([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        );
        let wide = Condition { embeddings: Array { shape: vec![1, 3], values: vec![0.0; 3] } };
        assert!(Condition::concat(&[one, wide]).is_err() && Condition::concat(&[]).is_err());
    }
}
