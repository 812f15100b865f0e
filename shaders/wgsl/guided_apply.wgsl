// logits[pixels] = logit(p) with p = a · guide[3, pixels] + b, where coefficients[4, pixels] are a and b
//
// A linear model may leave 0..1, and logits end there: p is clamped to a little inside.

struct Params {
    pixels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> coefficients: array<f32>;
@group(0) @binding(2) var<storage, read> guide: array<f32>;
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;

const MARGIN: f32 = 1e-4;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    let n = params.pixels;
    if i >= n { return; }
    let a = vec3(coefficients[i], coefficients[n + i], coefficients[2u * n + i]);
    let colour = vec3(guide[i], guide[n + i], guide[2u * n + i]);
    let p = clamp(dot(a, colour) + coefficients[3u * n + i], MARGIN, 1.0 - MARGIN);
    logits[i] = log(p / (1.0 - p));
}
