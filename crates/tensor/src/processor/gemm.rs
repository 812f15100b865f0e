//! Products of matrices, by `rten-gemm`.

use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_tensor::{Matrix, NdTensorView};

use crate::{Error, Result};

/// A weight `[columns, inner]` in the order in which products read it. It is packed once, when it is loaded.
pub(crate) struct PackedWeight(PackedBMatrix<f32>);

impl PackedWeight {
    /// Packs `weight`, `[columns, inner]`.
    pub fn new([columns, inner]: [usize; 2], weight: &[f32]) -> Result<Self> {
        let weight = matrix(weight, [columns, inner], [inner, 1])?;
        Ok(Self(executor().prepack_b(weight.transposed())))
    }

    /// The weight as the second operand of a [`Product`].
    pub fn operand(&self) -> GemmInputB<'_, f32> {
        GemmInputB::Packed(&self.0)
    }
}

/// What the instructions are called that products run on.
pub(super) fn kernel_name() -> String {
    executor().kernel_name().to_owned()
}

/// It chooses by the processor it is on; making one costs nothing.
fn executor() -> GemmExecutor {
    GemmExecutor::default()
}

/// `values` as a matrix of those sizes and strides.
pub(crate) fn matrix(values: &[f32], sizes: [usize; 2], strides: [usize; 2]) -> Result<Matrix<'_, f32>> {
    NdTensorView::from_slice_with_strides(sizes, values, strides).map_err(failed)
}

/// `output = scale · input · weight + share · output + bias`.
pub(crate) struct Product<'a> {
    pub input: Matrix<'a, f32>,
    pub weight: GemmInputB<'a, f32>,
    pub scale: f32,
    pub share: f32,
    pub bias: Option<&'a [f32]>,
}

impl Product<'_> {
    pub fn run(self, output: &mut [f32]) -> Result<()> {
        let options = GemmOptions {
            alpha: self.scale,
            beta: self.share,
            bias: self.bias.map(BiasVector::Row),
            ..GemmOptions::default()
        };
        executor().gemm(output, GemmInputA::Unpacked(self.input), self.weight, options).map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Device(format!("a product of matrices: {error}"))
}
