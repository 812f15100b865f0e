// columns[image, y, x, (ky, kx, channel)] = input[image, y + ky - 1, x + kx - 1, channel], zero outside the
// map: a 3×3 convolution with padding 1, channels last, becomes one matrix product with this as its left
// side. `skip` leading rows of each image (the class token) are stepped over.

struct Params {
    images: u32,
    height: u32,
    width: u32,
    channels: u32,
    skip: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> columns: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    let inner = 9u * params.channels;
    if i >= params.images * params.height * params.width * inner { return; }
    let channel = i % params.channels;
    let tap = i / params.channels % 9u;
    let pixel = i / inner;
    let x = i32(pixel % params.width) + i32(tap % 3u) - 1;
    let y = i32(pixel / params.width % params.height) + i32(tap / 3u) - 1;
    let image = pixel / (params.width * params.height);
    var value = 0.0;
    if x >= 0 && x < i32(params.width) && y >= 0 && y < i32(params.height) {
        let row = image * (params.height * params.width + params.skip) + params.skip + u32(y) * params.width + u32(x);
        value = input[row * params.channels + channel];
    }
    columns[i] = value;
}
