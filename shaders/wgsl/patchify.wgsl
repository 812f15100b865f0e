// patches[image, patch row, patch column, (channel, y, x)] = pixels[image, channel, …]: the rows of the patch
// embedding, a convolution whose kernel equals its stride, as one matrix product. Pixels beyond the last
// whole patch are left out.

struct Params {
    images: u32,
    channels: u32,
    height: u32,
    width: u32,
    patch_size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<f32>;
@group(0) @binding(2) var<storage, read_write> patches: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    let patch_rows = params.height / params.patch_size;
    let patch_columns = params.width / params.patch_size;
    let inner = params.channels * params.patch_size * params.patch_size;
    if i >= params.images * patch_rows * patch_columns * inner { return; }
    let within = i % inner;
    let place = i / inner;
    let x = place % patch_columns * params.patch_size + within % params.patch_size;
    let y = place / patch_columns % patch_rows * params.patch_size + within / params.patch_size % params.patch_size;
    let channel = within / (params.patch_size * params.patch_size);
    let image = place / (patch_columns * patch_rows);
    patches[i] = pixels[((image * params.channels + channel) * params.height + y) * params.width + x];
}
