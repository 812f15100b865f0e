/// Where layers find their weights by name: a checkpoint, or a map in a test.
pub trait Weights {
    /// The error for a missing or misshapen tensor; the device's errors convert into it.
    type Error: From<crate::Error>;

    /// The tensor `name` as f32 in row-major order.
    ///
    /// # Errors
    /// When it is not there, or has another shape than `shape`.
    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Self::Error>;
}
