// output[image, 0, :] = class_embedding + positions[0, :]
// output[image, 1 + patch, :] = patches[image, patch, :] + positions[1 + patch, :]

struct Params {
    images: u32,
    patches: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> patches: array<f32>;
@group(0) @binding(2) var<storage, read> class_embedding: array<f32>;
@group(0) @binding(3) var<storage, read> positions: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

#include "shared/rows.wgsl"

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = row_of(workgroup, grid);
    let tokens = params.patches + 1u;
    if row >= params.images * tokens { return; }
    let token = row % tokens;
    let image = row / tokens;
    for (var column = thread; column < params.columns; column += THREADS) {
        var value = class_embedding[column];
        if token > 0u { value = patches[(image * params.patches + token - 1u) * params.columns + column]; }
        output[row * params.columns + column] = value + positions[token * params.columns + column];
    }
}
