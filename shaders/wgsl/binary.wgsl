// output[i] = input[i] ∘ other[i % other_length], where ∘ is a sum, a difference, a product or a quotient
//
// `other` is as long as `input`, or as its last dimensions and stands for every row before them.

struct Params {
    length: u32,
    other_length: u32,
}

override OPERATION: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> other: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= params.length { return; }
    let a = input[i];
    let b = other[i % params.other_length];
    switch OPERATION {
        case 1u: { output[i] = a - b; }
        case 2u: { output[i] = a * b; }
        case 3u: { output[i] = a / b; }
        default: { output[i] = a + b; }
    }
}
