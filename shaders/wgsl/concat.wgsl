// output[row, :] = left[row, :] with right[row, :] behind it

struct Params {
    length: u32,
    left_columns: u32,
    right_columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= params.length { return; }
    let columns = params.left_columns + params.right_columns;
    let row = i / columns;
    let column = i % columns;
    if column < params.left_columns {
        output[i] = left[row * params.left_columns + column];
    } else {
        output[i] = right[row * params.right_columns + column - params.left_columns];
    }
}
