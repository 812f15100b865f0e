//! Activations: functions of one value.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use crate::Activation;
use crate::kernels::{activation, sigmoid};

/// `activation(x)`, with the textbook formula of each activation.
///
/// GELU is taken in f64, since the kernels approximate the error function and this is what they are held
/// against.
pub fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::None => x,
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Gelu => {
            let x = f64::from(x);
            (0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))) as f32
        }
        Activation::GeluNew => {
            let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        // Unlike `max`, this leaves NaN as it is.
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        // The constants of Klambauer et al. 2017, rounded to f32.
        Activation::Selu => 1.050_701 * if x < 0.0 { 1.673_263_2 * x.exp_m1() } else { x },
    }
}

/// `output = activation(input)`, value by value.
pub fn activation(params: &activation::Params, activation: Activation, input: &[f32], output: &mut [f32]) {
    for i in 0..params.length as usize {
        output[i] = activate(activation, input[i]);
    }
}

/// `output = 1 / (1 + exp(-input))`, value by value.
pub fn sigmoid(params: &sigmoid::Params, input: &[f32], output: &mut [f32]) {
    for i in 0..params.length as usize {
        output[i] = 1.0 / (1.0 + (-input[i]).exp());
    }
}

/// The error function to f64's precision: `2/√π · exp(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!`, all terms of one sign.
fn erf(x: f64) -> f64 {
    // 1 - erf(6) is below f64's resolution, and the series would need ever more terms.
    if x.abs() > 6.0 {
        return x.signum();
    }
    let mut term = x;
    let mut sum = x;
    let mut odd = 1.0;
    while term.abs() > sum.abs() * f64::EPSILON {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twins::assert_near;

    const POINTS: [f32; 10] = [-12.0, -5.0, -2.5, -1.0, -0.1, 0.0, 0.3, 1.0, 2.0, 6.0];

    fn at_the_points(activation: Activation) -> Vec<f32> {
        POINTS.iter().map(|&x| activate(activation, x)).collect()
    }

    // torch.erf in float64.
    #[test]
    fn erf_equals_pytorch() {
        let expected = [
            -1.0,
            -0.999_999_999_998_462_5,
            -0.999_593_047_982_555,
            -0.842_700_792_949_714_9,
            -0.112_462_916_018_284_89,
            0.0,
            0.328_626_759_459_127_4,
            0.842_700_792_949_714_9,
            0.995_322_265_018_952_7,
            1.0,
        ];
        for (x, expected) in
            [-12.0, -5.0, -2.5, -1.0, -0.1, 0.0, 0.3, 1.0, 2.0, 6.0].into_iter().zip(expected)
        {
            assert!((erf(x) - expected).abs() < 1e-14, "erf({x}) = {}", erf(x));
        }
    }

    // x · sigmoid(1.702 x), functional.gelu, functional.gelu(approximate="tanh") and functional.selu of
    // PyTorch, in float64.
    #[test]
    fn activations_equal_pytorch() {
        let quick_gelu = [
            -1.618_641_8e-8,
            -0.001_007_016_3,
            -0.034_986_165,
            -0.154_204_23,
            -0.045_755_24,
            0.0,
            0.187_484_14,
            0.845_795_8,
            1.935_658_6,
            5.999_779_7,
        ];
        let gelu = [
            0.0,
            -1.433_257_9e-6,
            -0.015_524_163,
            -0.158_655_25,
            -0.046_017_22,
            0.0,
            0.185_373_43,
            0.841_344_7,
            1.954_499_7,
            6.0,
        ];
        let gelu_new = [
            0.0,
            -2.291_796_2e-7,
            -0.015_084_266,
            -0.158_808,
            -0.046_017_25,
            0.0,
            0.185_370_93,
            0.841_192,
            1.954_597_7,
            6.0,
        ];
        let selu = [
            -1.758_088_5,
            -1.746_253_4,
            -1.613_785_8,
            -1.111_330_7,
            -0.167_305_28,
            0.0,
            0.315_210_3,
            1.050_701,
            2.101_402,
            6.304_206,
        ];
        assert_near(&at_the_points(Activation::None), &POINTS, 0.0);
        assert_near(&at_the_points(Activation::QuickGelu), &quick_gelu, 5e-7);
        assert_near(&at_the_points(Activation::Gelu), &gelu, 5e-7);
        assert_near(&at_the_points(Activation::GeluNew), &gelu_new, 5e-7);
        assert_near(&at_the_points(Activation::Relu), &POINTS.map(|x| x.max(0.0)), 0.0);
        assert_near(&at_the_points(Activation::Selu), &selu, 5e-7);
    }

    // torch.sigmoid.
    #[test]
    fn sigmoid_equals_pytorch_and_does_not_overflow() {
        let mut output = [0.0; 5];
        sigmoid(&sigmoid::Params { length: 5 }, &[-100.0, -2.0, 0.0, 0.5, 100.0], &mut output);
        assert_near(&output, &[0.0, 0.119_202_92, 0.5, 0.622_459_35, 1.0], 1e-7);
    }
}
