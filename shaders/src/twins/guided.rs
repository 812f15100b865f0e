//! The guided filter with a colour guide (He, Sun and Tang, "Guided image filtering", 2013), in steps.

use super::sigmoid;
use crate::kernels::{self, box_mean, guided_apply, guided_coefficients, guided_moments};

/// `output[outer, i, inner]` = the mean of `input[outer, j, inner]` over all `j` with `|i - j| ≤ radius` that
/// there are.
pub fn box_mean(params: &box_mean::Params, input: &[f32], output: &mut [f32]) {
    let (length, inner, radius) = (params.length as usize, params.inner as usize, params.radius as usize);
    for start in
        (0..params.outer as usize).flat_map(|outer| (0..inner).map(move |i| outer * length * inner + i))
    {
        for place in 0..length {
            let window = place.saturating_sub(radius)..(place + radius + 1).min(length);
            let count = window.len() as f32;
            let sum: f32 = window.map(|j| input[start + j * inner]).sum();
            output[start + place * inner] = sum / count;
        }
    }
}

/// `moments[13, pixels]` of `guide[3, pixels]` and the probabilities of `logits[pixels]`: r, g, b; p; r·p,
/// g·p, b·p; r·r, r·g, r·b, g·g, g·b, b·b.
pub fn guided_moments(params: &guided_moments::Params, guide: &[f32], logits: &[f32], moments: &mut [f32]) {
    let n = params.pixels as usize;
    let mut probabilities = vec![0.0; n];
    sigmoid(&kernels::sigmoid::Params { length: params.pixels }, logits, &mut probabilities);
    for (i, p) in probabilities.into_iter().enumerate() {
        let [r, g, b] = [guide[i], guide[n + i], guide[2 * n + i]];
        let values = [r, g, b, p, r * p, g * p, b * p, r * r, r * g, r * b, g * g, g * b, b * b];
        for (plane, value) in values.into_iter().enumerate() {
            moments[plane * n + i] = value;
        }
    }
}

/// `coefficients[4, pixels]`, a and b of `p = a · colour + b`, of `means[13, pixels]`, the means of the
/// moments: `a = (covariance of the guide + epsilon·1)⁻¹ · covariance of guide and probability`,
/// `b = mean of p - a · mean colour`.
pub fn guided_coefficients(params: &guided_coefficients::Params, means: &[f32], coefficients: &mut [f32]) {
    let n = params.pixels as usize;
    for i in 0..n {
        let mean = |plane: usize| f64::from(means[plane * n + i]);
        let colour = [mean(0), mean(1), mean(2)];
        let epsilon = f64::from(params.epsilon);
        // The planes of the products, in the rows and columns of the matrix.
        let planes = [[7, 8, 9], [8, 10, 11], [9, 11, 12]];
        let mut rows: [[f64; 4]; 3] = std::array::from_fn(|row| {
            let entry = |column: usize| {
                mean(planes[row][column]) - colour[row] * colour[column]
                    + if row == column { epsilon } else { 0.0 }
            };
            [entry(0), entry(1), entry(2), mean(4 + row) - colour[row] * mean(3)]
        });
        // Gauss's elimination needs no pivoting: the matrix is positive definite.
        for pivot in 0..3 {
            for row in 0..3 {
                if row != pivot {
                    let factor = rows[row][pivot] / rows[pivot][pivot];
                    let taken = rows[pivot];
                    rows[row].iter_mut().zip(taken).for_each(|(value, other)| *value -= factor * other);
                }
            }
        }
        let a: [f64; 3] = std::array::from_fn(|row| rows[row][3] / rows[row][row]);
        let b = mean(3) - a.iter().zip(colour).map(|(a, colour)| a * colour).sum::<f64>();
        for (plane, value) in a.into_iter().chain([b]).enumerate() {
            coefficients[plane * n + i] = value as f32;
        }
    }
}

/// `logits[pixels]` of `p = a · colour + b`, held between 0.0001 and 0.9999, of `coefficients[4, pixels]` and
/// `guide[3, pixels]`.
pub fn guided_apply(params: &guided_apply::Params, coefficients: &[f32], guide: &[f32], logits: &mut [f32]) {
    let n = params.pixels as usize;
    for i in 0..n {
        let told: f32 = (0..3).map(|plane| coefficients[plane * n + i] * guide[plane * n + i]).sum();
        let p = (told + coefficients[3 * n + i]).clamp(1e-4, 1.0 - 1e-4);
        logits[i] = (p / (1.0 - p)).ln();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twins::assert_near;

    #[test]
    fn windows_end_where_the_map_does() {
        let input = [1.0, 10.0, 2.0, 20.0, 6.0, 60.0, 3.0, 30.0];
        let mut output = [0.0; 8];
        box_mean(&box_mean::Params { outer: 1, length: 4, inner: 2, radius: 1 }, &input, &mut output);
        assert_near(&output, &[1.5, 15.0, 3.0, 30.0, 11.0 / 3.0, 110.0 / 3.0, 4.5, 45.0], 1e-5);
        box_mean(&box_mean::Params { outer: 4, length: 2, inner: 1, radius: 9 }, &input, &mut output);
        assert_near(&output, &[5.5, 5.5, 11.0, 11.0, 33.0, 33.0, 16.5, 16.5], 1e-5);
    }

    /// Probabilities that are linear in the colour are told exactly, whatever the window.
    #[test]
    fn a_linear_map_is_found() {
        let n = 16;
        let guide: Vec<f32> = (0..3 * n).map(|i| ((i * i * 7 + i * 3) % 23) as f32 / 23.0 - 0.5).collect();
        let told: Vec<f32> =
            (0..n).map(|i| 0.45 + 0.3 * guide[i] - 0.2 * guide[n + i] + 0.1 * guide[2 * n + i]).collect();
        let logits: Vec<f32> = told.iter().map(|p| (p / (1.0 - p)).ln()).collect();
        let mut moments = vec![0.0; 13 * n];
        guided_moments(&guided_moments::Params { pixels: n as u32 }, &guide, &logits, &mut moments);
        let mut means = vec![0.0; 13 * n];
        let window = box_mean::Params { outer: 13, length: n as u32, inner: 1, radius: 100 };
        box_mean(&window, &moments, &mut means);
        let mut coefficients = vec![0.0; 4 * n];
        let params = guided_coefficients::Params { pixels: n as u32, epsilon: 1e-9 };
        guided_coefficients(&params, &means, &mut coefficients);
        let expected: Vec<f32> =
            [0.3, -0.2, 0.1, 0.45].into_iter().flat_map(|value| vec![value; n]).collect();
        assert_near(&coefficients, &expected, 1e-4);
        let mut found = vec![0.0; n];
        guided_apply(&guided_apply::Params { pixels: n as u32 }, &coefficients, &guide, &mut found);
        assert_near(&found, &logits, 1e-3);
    }

    #[test]
    fn a_flat_guide_gives_the_mean_and_what_leaves_the_range_is_cut() {
        let means: Vec<f32> =
            [0.2, -0.1, 0.3, 0.7, 0.14, -0.07, 0.21, 0.04, -0.02, 0.06, 0.01, -0.03, 0.09].into();
        let mut coefficients = [0.0; 4];
        let params = guided_coefficients::Params { pixels: 1, epsilon: 1e-3 };
        guided_coefficients(&params, &means, &mut coefficients);
        assert_near(&coefficients, &[0.0, 0.0, 0.0, 0.7], 1e-4);
        let mut logits = [0.0; 2];
        let coefficients = [10.0, 10.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5];
        let guide = [0.5, -0.5, 0.0, 0.0, 0.0, 0.0];
        guided_apply(&guided_apply::Params { pixels: 2 }, &coefficients, &guide, &mut logits);
        assert_near(&logits, &[9.21, -9.21], 1e-2);
    }
}
