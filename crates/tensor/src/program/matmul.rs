//! Steps that are products of matrices.

use clipseg_shaders::kernels::matmul_tile;
use clipseg_shaders::{Activation, twins};
use rten_gemm::GemmInputB;
use rten_simd::SimdUnaryOp;
use rten_vecmath::{ApproxGelu, Gelu, Swish};

use super::rows;
use crate::Result;
use crate::processor::gemm::{Product, matrix};
use crate::twin::{Call, Input};

/// A product as a step records it, all but its input and its output.
pub(super) struct Layer<'a> {
    weight: GemmInputB<'a, f32>,
    pub rows: usize,
    pub columns: usize,
    pub inner: usize,
    bias: Option<&'a [f32]>,
    /// `[rows, columns]`
    residual: Option<&'a [f32]>,
    activation: Activation,
}

impl<'a> Layer<'a> {
    pub fn of(call: &Call<'a>) -> Result<Self> {
        let params: matmul_tile::Params = call.params()?;
        let [rows, columns, inner] = [params.rows, params.columns, params.inner].map(|size| size as usize);
        let weight = match call.input(1)? {
            Input::Weight(weight) => weight.operand(),
            Input::Words(words) => {
                let plain = matrix(bytemuck::cast_slice(words), [columns, inner], [inner, 1])?;
                GemmInputB::Unpacked(plain.transposed())
            }
        };
        let bias = if params.has_bias != 0 { Some(call.floats_of(2, columns)?) } else { None };
        let residual = if params.has_residual != 0 { Some(call.floats_of(3, rows * columns)?) } else { None };
        Ok(Self { weight, rows, columns, inner, bias, residual, activation: call.activation() })
    }

    /// The rows of the product from `first` on that `output` has room for, of as many rows of `input`.
    pub fn run(&self, first: usize, input: &[f32], output: &mut [f32]) -> Result<()> {
        let rows = output.len() / self.columns.max(1);
        let input = matrix(input, [rows, self.inner], [self.inner, 1])?;
        let residual = self.residual.map(|residual| &residual[first * self.columns..][..output.len()]);
        // Without an activation between them, the product is added to the residual as it is made.
        let added = residual.filter(|_| self.activation == Activation::None);
        if let Some(residual) = added {
            output.copy_from_slice(residual);
        }
        let share = if added.is_some() { 1.0 } else { 0.0 };
        Product { input, weight: self.weight, scale: 1.0, share, bias: self.bias }.run(output)?;
        activate(self.activation, output);
        if let Some(residual) = residual.filter(|_| added.is_none()) {
            rows::for_each(output, self.columns, |row, values| {
                let residual = &residual[row * self.columns..][..self.columns];
                values.iter_mut().zip(residual).for_each(|(value, residual)| *value += residual);
            });
        }
        Ok(())
    }
}

/// The twin of every `matmul_*` on buffers.
pub(super) fn matmul(call: Call<'_>) -> Result<()> {
    let layer = Layer::of(&call)?;
    layer.run(0, call.floats(0)?, call.output)
}

/// Replaces each value by its activation.
pub(super) fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::None => {}
        Activation::QuickGelu => apply(values, &Swish { alpha: 1.702 }),
        Activation::Gelu => apply(values, &Gelu {}),
        Activation::GeluNew => apply(values, &ApproxGelu {}),
        // On its own, so that the loop has nothing to decide and becomes vectors.
        Activation::Relu => rows::in_pieces(values, |values| {
            values.iter_mut().for_each(|value| *value = if *value < 0.0 { 0.0 } else { *value });
        }),
        Activation::Selu => rows::in_pieces(values, |values| {
            values.iter_mut().for_each(|value| *value = twins::activate(Activation::Selu, *value));
        }),
    }
}

/// `values` through a function of one value, on all threads.
pub(super) fn apply(values: &mut [f32], function: &(impl SimdUnaryOp<f32> + Sync)) {
    rows::in_pieces(values, |values| function.map_mut(values));
}
