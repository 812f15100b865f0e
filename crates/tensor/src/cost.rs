//! Lower bounds of a kernel's run: its floating-point operations and bytes.

use std::ops::{Add, AddAssign, Mul};

/// The least work that a run of a kernel needs, counted from its shapes whatever the kernel really does: the
/// yardstick for the time that it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Floating-point operations. Additions, multiplications, comparisons, divisions, roots and exponentials
    /// are one each. For matrix products and attention only the multiplications and additions of the products
    /// count: bias, activation and softmax add a percent or two. Weights stored as blocks along a diagonal
    /// count with the zeros between the blocks.
    pub flops: u64,
    /// Bytes of all inputs, weights and outputs, each once, without the padding of buffers and textures.
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

/// The cost of `runs` such runs.
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
