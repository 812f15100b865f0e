//! The matrix product with its epilogue.

use super::activate;
use crate::Activation;
use crate::kernels::matmul_tile;

/// `output = activation(input · weightᵀ + bias) + residual`, the weight `[columns, inner]` as PyTorch stores
/// a linear layer's.
///
/// The bias and the residual are not read where the parameters leave them out.
pub fn matmul(
    params: &matmul_tile::Params,
    activation: Activation,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    residual: &[f32],
    output: &mut [f32],
) {
    let (columns, inner) = (params.columns as usize, params.inner as usize);
    for row in 0..params.rows as usize {
        let input = &input[row * inner..][..inner];
        for column in 0..columns {
            let weight = &weight[column * inner..][..inner];
            let mut value = input.iter().zip(weight).map(|(a, b)| a * b).sum();
            if params.has_bias != 0 {
                value += bias[column];
            }
            value = activate(activation, value);
            if params.has_residual != 0 {
                value += residual[row * columns + column];
            }
            output[row * columns + column] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epilogue_runs_bias_activation_residual() {
        let input = [1.0, 2.0, 3.0, -1.0, 0.5, 2.0];
        let weight = [1.0, 0.0, -2.0, 0.5, 4.0, 1.0];
        let mut params = matmul_tile::Params { rows: 2, columns: 2, inner: 3, has_bias: 0, has_residual: 0 };
        let mut output = [0.0; 4];
        matmul(&params, Activation::None, &input, &weight, &[], &[], &mut output);
        assert_eq!(output, [-5.0, 11.5, -5.0, 3.5]);

        params.has_bias = 1;
        params.has_residual = 1;
        let residual = [10.0, 20.0, 30.0, 40.0];
        matmul(&params, Activation::Relu, &input, &weight, &[6.0, -4.0], &residual, &mut output);
        assert_eq!(output, [11.0, 27.5, 31.0, 40.0]);
    }
}
