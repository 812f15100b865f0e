// coefficients[4, pixels] of the linear model that predicts the probability from the guide's colour around
// each pixel: a = (covariance of the guide + epsilon·1)⁻¹ · covariance of guide and probability, b = mean of
// p - a · mean of the guide.
//
// `means[13, pixels]` are the box means of `guided_moments`. He, Sun and Tang, "Guided image filtering"
// (2013), equations 14 and 15. The matrix is positive definite: it is factored as L·D·Lᵀ, which keeps what
// its determinant would cancel.

struct Params {
    pixels: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> means: array<f32>;
@group(0) @binding(2) var<storage, read_write> coefficients: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    let n = params.pixels;
    if i >= n { return; }
    let r = means[i];
    let g = means[n + i];
    let b = means[2u * n + i];
    let p = means[3u * n + i];
    let shared_r = means[4u * n + i] - r * p;
    let shared_g = means[5u * n + i] - g * p;
    let shared_b = means[6u * n + i] - b * p;

    let pivot_r = max(means[7u * n + i] - r * r, 0.0) + params.epsilon;
    let lower_g = (means[8u * n + i] - r * g) / pivot_r;
    let lower_b = (means[9u * n + i] - r * b) / pivot_r;
    // A pivot is never less than epsilon but by rounding.
    let pivot_g = max(means[10u * n + i] - g * g + params.epsilon - lower_g * lower_g * pivot_r, params.epsilon);
    let lower_gb = (means[11u * n + i] - g * b - lower_g * lower_b * pivot_r) / pivot_g;
    let rest_b = means[12u * n + i] - b * b + params.epsilon - lower_b * lower_b * pivot_r;
    let pivot_b = max(rest_b - lower_gb * lower_gb * pivot_g, params.epsilon);

    let half_g = shared_g - lower_g * shared_r;
    let half_b = shared_b - lower_b * shared_r - lower_gb * half_g;
    let a_b = half_b / pivot_b;
    let a_g = half_g / pivot_g - lower_gb * a_b;
    let a_r = shared_r / pivot_r - lower_g * a_g - lower_b * a_b;
    coefficients[i] = a_r;
    coefficients[n + i] = a_g;
    coefficients[2u * n + i] = a_b;
    coefficients[3u * n + i] = p - a_r * r - a_g * g - a_b * b;
}
