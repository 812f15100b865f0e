//! Sums and products of tensors, and their parts in another order.

use crate::kernels::{batched_matmul, binary, concat, strided_copy};

/// What `binary` does with two values, as its override says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BinaryOperation {
    /// `a + b`
    Add = 0,
    /// `a - b`
    Sub = 1,
    /// `a · b`
    Mul = 2,
    /// `a / b`
    Div = 3,
}

impl BinaryOperation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Add, Self::Sub, Self::Mul, Self::Div];
}

/// `output[i] = input[i] ∘ other[i % other_length]`.
pub fn binary(
    params: &binary::Params,
    operation: BinaryOperation,
    input: &[f32],
    other: &[f32],
    output: &mut [f32],
) {
    for i in 0..params.length as usize {
        let (a, b) = (input[i], other[i % params.other_length as usize]);
        output[i] = match operation {
            BinaryOperation::Add => a + b,
            BinaryOperation::Sub => a - b,
            BinaryOperation::Mul => a * b,
            BinaryOperation::Div => a / b,
        };
    }
}

/// `output[i, j, k, l] = input[start + i · stride_0 + j · stride_1 + k · stride_2 + l · stride_3]`.
pub fn strided_copy(params: &strided_copy::Params, input: &[f32], output: &mut [f32]) {
    let [length, start, size_1, size_2, size_3] =
        [params.length, params.start, params.size_1, params.size_2, params.size_3].map(|size| size as usize);
    let strides =
        [params.stride_0, params.stride_1, params.stride_2, params.stride_3].map(|stride| stride as usize);
    for (place, value) in output[..length].iter_mut().enumerate() {
        let indices = [
            place / (size_1 * size_2 * size_3),
            place / (size_2 * size_3) % size_1,
            place / size_3 % size_2,
            place % size_3,
        ];
        let offset: usize = indices.iter().zip(strides).map(|(index, stride)| index * stride).sum();
        *value = input[start + offset];
    }
}

/// `output[row, :]` is `left[row, :]` with `right[row, :]` behind it.
pub fn concat(params: &concat::Params, left: &[f32], right: &[f32], output: &mut [f32]) {
    let (left_columns, right_columns) = (params.left_columns as usize, params.right_columns as usize);
    let columns = left_columns + right_columns;
    for row in 0..(params.length as usize).checked_div(columns).unwrap_or(0) {
        let output = &mut output[row * columns..][..columns];
        output[..left_columns].copy_from_slice(&left[row * left_columns..][..left_columns]);
        output[left_columns..].copy_from_slice(&right[row * right_columns..][..right_columns]);
    }
}

/// `output[batch, M, N] = left[batch, M, K] · right[batch, K, N]`; `right` is `[batch, N, K]` where it is
/// transposed, and has no batch where it is shared. Sums are in f64, as every order of them is held against
/// this.
pub fn batched_matmul(params: &batched_matmul::Params, left: &[f32], right: &[f32], output: &mut [f32]) {
    let (rows, inner, columns) = (params.rows as usize, params.inner as usize, params.columns as usize);
    for (place, value) in output.iter_mut().enumerate() {
        let (batch, row, column) = (place / (rows * columns), place / columns % rows, place % columns);
        let matrix = if params.right_shared != 0 { 0 } else { batch };
        let product = |k: usize| {
            let within = if params.right_transposed != 0 { column * inner + k } else { k * columns + column };
            let (a, b) = (left[(batch * rows + row) * inner + k], right[matrix * inner * columns + within]);
            f64::from(a) * f64::from(b)
        };
        *value = (0..inner).map(product).sum::<f64>() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_operand_stands_for_every_row() {
        let params = binary::Params { length: 6, other_length: 3 };
        let (input, other) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 4.0]);
        let mut output = [0.0; 6];
        for (operation, expected) in BinaryOperation::ALL.into_iter().zip([
            [2.0, 4.0, 7.0, 5.0, 7.0, 10.0],
            [0.0, 0.0, -1.0, 3.0, 3.0, 2.0],
            [1.0, 4.0, 12.0, 4.0, 10.0, 24.0],
            [1.0, 1.0, 0.75, 4.0, 2.5, 1.5],
        ]) {
            binary(&params, operation, &input, &other, &mut output);
            assert_eq!(output, expected, "{operation:?}");
        }
    }

    #[test]
    fn strides_transpose_and_slice() {
        let input: Vec<_> = (0..6).map(|value| value as f32).collect();
        let mut output = [0.0; 6];
        // [2, 3] to [3, 2].
        let mut params = strided_copy::Params {
            length: 6,
            start: 0,
            size_1: 1,
            size_2: 3,
            size_3: 2,
            stride_0: 0,
            stride_1: 0,
            stride_2: 1,
            stride_3: 3,
        };
        strided_copy(&params, &input, &mut output);
        assert_eq!(output, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        // The last two columns of each row.
        (params.length, params.start, params.size_2, params.size_3) = (4, 1, 2, 2);
        (params.stride_2, params.stride_3) = (3, 1);
        strided_copy(&params, &input, &mut output);
        assert_eq!(output[..4], [1.0, 2.0, 4.0, 5.0]);
    }

    #[test]
    fn rows_are_joined() {
        let params = concat::Params { length: 6, left_columns: 2, right_columns: 1 };
        let mut output = [0.0; 6];
        concat(&params, &[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0], &mut output);
        assert_eq!(output, [1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
    }

    #[test]
    fn products_of_a_batch() {
        let left = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let right = [1.0, 0.0, 0.0, 2.0, 0.0, 1.0, 1.0, 0.0];
        let mut params =
            batched_matmul::Params { rows: 2, inner: 2, columns: 2, right_transposed: 0, right_shared: 0 };
        let mut output = [0.0; 8];
        batched_matmul(&params, &left, &right, &mut output);
        assert_eq!(output, [1.0, 4.0, 3.0, 8.0, 6.0, 5.0, 8.0, 7.0]);
        // numpy: left @ [[1, 2], [3, 4]].T
        (params.right_transposed, params.right_shared) = (1, 1);
        batched_matmul(&params, &left, &[1.0, 2.0, 3.0, 4.0], &mut output);
        assert_eq!(output, [5.0, 11.0, 11.0, 25.0, 17.0, 39.0, 23.0, 53.0]);
    }
}
