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

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    let tokens = params.patches + 1u;
    if i >= params.images * tokens * params.columns { return; }
    let column = i % params.columns;
    let token = i / params.columns % tokens;
    let image = i / (params.columns * tokens);
    var value = class_embedding[column];
    if token > 0u { value = patches[(image * params.patches + token - 1u) * params.columns + column]; }
    output[i] = value + positions[token * params.columns + column];
}
