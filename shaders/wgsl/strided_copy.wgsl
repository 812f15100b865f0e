// output[i, j, k, l] = input[start + i · stride_0 + j · stride_1 + k · stride_2 + l · stride_3]
//
// The output is contiguous. With the input's strides in another order this transposes, with a start it
// slices.

struct Params {
    length: u32,
    start: u32,
    // Sizes of the output but for the first, which the length gives.
    size_1: u32,
    size_2: u32,
    size_3: u32,
    stride_0: u32,
    stride_1: u32,
    stride_2: u32,
    stride_3: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let place = element(id, grid);
    if place >= params.length { return; }
    let l = place % params.size_3;
    let rows = place / params.size_3;
    let k = rows % params.size_2;
    let planes = rows / params.size_2;
    let j = planes % params.size_1;
    let i = planes / params.size_1;
    output[place] = input[params.start + i * params.stride_0 + j * params.stride_1 + k * params.stride_2 + l * params.stride_3];
}
