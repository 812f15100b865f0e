/// An array in the host's memory, row-major: what comes back from the device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array {
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The elements, the last dimension fastest.
    pub values: Vec<f32>,
}

impl Array {
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
