// moments[13, pixels]: the values whose means a guided filter needs, from guide[3, pixels] and the
// probabilities p = sigmoid(logits[pixels]): r, g, b; p; r·p, g·p, b·p; r·r, r·g, r·b, g·g, g·b, b·b.
//
// He, Sun and Tang, "Guided image filtering" (2013), equations 14 and 15. It filters probabilities, because
// logits far from 0 would pull an edge away from where p crosses 0.5.

struct Params {
    pixels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> guide: array<f32>;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> moments: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    let n = params.pixels;
    if i >= n { return; }
    // Of the exponential of a negative number alone: exp(-x) overflows for a logit below -88.
    let tail = exp(-abs(logits[i]));
    let p = select(tail, 1.0, logits[i] >= 0.0) / (1.0 + tail);
    let r = guide[i];
    let g = guide[n + i];
    let b = guide[2u * n + i];
    moments[i] = r;
    moments[n + i] = g;
    moments[2u * n + i] = b;
    moments[3u * n + i] = p;
    moments[4u * n + i] = r * p;
    moments[5u * n + i] = g * p;
    moments[6u * n + i] = b * p;
    moments[7u * n + i] = r * r;
    moments[8u * n + i] = r * g;
    moments[9u * n + i] = r * b;
    moments[10u * n + i] = g * g;
    moments[11u * n + i] = g * b;
    moments[12u * n + i] = b * b;
}
