//! Lower bounds of a kernel's run: its floating-point operations and bytes.

use std::ops::{Add, AddAssign, Mul};

/// The least work of a kernel's run, counted from shapes whatever the kernel really does: what the time that
/// it takes can be measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Floating-point operations. Additions, multiplications, comparisons, divisions, roots and exponentials
    /// are one each. Of matrix products and attention only the products with their sums count: what their
    /// bias, activation and softmax add is a percent or two. Weights that lie in blocks along a diagonal
    /// count with the zeros between the blocks.
    pub flops: u64,
    /// Bytes of all inputs, weights and outputs, each once, without what buffers and textures have beyond
    /// their tensors.
    pub bytes: u64,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { flops: self.flops + other.flops, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// So many runs of the one.
impl Mul<u64> for Cost {
    type Output = Self;

    fn mul(self, runs: u64) -> Self {
        Self { flops: self.flops * runs, bytes: self.bytes * runs }
    }
}

/// Operations of the product of `[rows, inner]` and `[inner, columns]`.
pub(crate) fn product_flops(rows: usize, inner: usize, columns: usize) -> u64 {
    2 * rows as u64 * inner as u64 * columns as u64
}
