//! Layer norm and softmax: functions of a row.

use crate::kernels::{layer_norm, softmax};

/// `output[row, :] = (input[row, :] - mean) / sqrt(variance + epsilon) * weight + bias`
pub fn layer_norm(
    params: &layer_norm::Params,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    let columns = params.columns as usize;
    for row in 0..params.rows as usize {
        let input = &input[row * columns..][..columns];
        let output = &mut output[row * columns..][..columns];
        let mean = input.iter().sum::<f32>() / columns as f32;
        let squares: f32 = input.iter().map(|x| (x - mean) * (x - mean)).sum();
        let deviation = (squares / columns as f32 + params.epsilon).sqrt();
        for column in 0..columns {
            output[column] = (input[column] - mean) / deviation * weight[column] + bias[column];
        }
    }
}

/// `output[row, :] = exp(input[row, :] - max) / sum`; -inf stands for a value that takes no part.
pub fn softmax(params: &softmax::Params, input: &[f32], output: &mut [f32]) {
    let columns = params.columns as usize;
    for row in 0..params.rows as usize {
        let input = &input[row * columns..][..columns];
        let output = &mut output[row * columns..][..columns];
        let largest = input.iter().copied().fold(f32::MIN, f32::max);
        let mut sum = 0.0;
        for (exponential, x) in output.iter_mut().zip(input) {
            *exponential = (x - largest).exp();
            sum += *exponential;
        }
        for probability in output {
            *probability /= sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twins::assert_near;

    // torch.nn.functional.layer_norm.
    #[test]
    fn layer_norm_equals_pytorch() {
        let mut output = [0.0; 8];
        layer_norm(
            &layer_norm::Params { rows: 2, columns: 4, epsilon: 1e-5 },
            &[0.5, -1.0, 2.0, 4.0, 3.0, 3.0, 3.0, 3.0],
            &[1.0, 2.0, -1.0, 0.5],
            &[0.0, 0.1, 0.2, 0.3],
            &mut output,
        );
        assert_near(&output[..4], &[-0.473_015_52, -2.467_798_5, -0.137_868_21, 1.009_523_3], 1e-6);
        // A constant row leaves the bias.
        assert_eq!(output[4..], [0.0, 0.1, 0.2, 0.3]);
    }

    #[test]
    fn softmax_rows_are_distributions() {
        let input =
            [1.0, f32::NEG_INFINITY, 1.0, -80.0, 90.0, 90.0 - 3.0f32.ln(), f32::MIN, f32::MIN, f32::MIN];
        let mut output = [0.0; 9];
        softmax(&softmax::Params { rows: 3, columns: 3 }, &input, &mut output);
        let third = 1.0 / 3.0;
        assert_near(&output, &[0.5, 0.0, 0.5, 0.0, 0.75, 0.25, third, third, third], 1e-6);
    }
}
