// output[i] = 1 / (1 + exp(-input[i]))

struct Params {
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= params.length { return; }
    // Of the exponential of a negative number alone: exp(-x) overflows for a logit below -88.
    let tail = exp(-abs(input[i]));
    output[i] = select(tail, 1.0, input[i] >= 0.0) / (1.0 + tail);
}
