/// An array in the host's memory, row-major: what comes back from the device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array {
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The elements, the last dimension fastest.
    pub values: Vec<f32>,
}

impl Array {
    /// Whether there are as many values as the shape says.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        elements(&self.shape) == Some(self.values.len())
    }

    /// The elements at `index` of the first dimension.
    ///
    /// # Panics
    /// When `index` is out of range.
    #[must_use]
    pub fn slice(&self, index: usize) -> &[f32] {
        let length = self.shape.iter().skip(1).product::<usize>();
        &self.values[index * length..(index + 1) * length]
    }
}

/// The number of elements of `shape`. `None` where a product of some of its dimensions is too large to be
/// counted in bytes, even if another dimension is zero: code multiplies parts of a shape too.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    let largest = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side.max(1)))?;
    // Four bytes per element, and room to round up.
    let is_countable = (largest as u64) < i64::MAX as u64 / 4;
    is_countable.then(|| if shape.contains(&0) { 0 } else { largest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_no_memory_holds_have_no_number_of_elements() {
        assert_eq!(elements(&[]), Some(1));
        assert_eq!(elements(&[2, 3, 5]), Some(30));
        assert_eq!(elements(&[1 << 20, 0]), Some(0));
        let half = 1 << (usize::BITS / 2);
        for shape in [&[half, half][..], &[half, half, 0], &[0, half, half], &[usize::MAX], &[3, usize::MAX]]
        {
            assert_eq!(elements(shape), None, "{shape:?}");
        }
        assert!(Array { shape: vec![2, 2], values: vec![0.0; 4] }.is_consistent());
        assert!(!Array { shape: vec![half, half], values: Vec::new() }.is_consistent());
    }
}
