// output[image, (y, a, c), (x, b, d), channel] = input[image, y, x, a, b, c, d, channel]: the last half of
// one transposed convolution whose kernel equals its stride (inner = 1), or of two in a row: outer steps a
// and b, then inner steps c and d.

struct Params {
    images: u32,
    height: u32,
    width: u32,
    outer: u32,
    inner: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    let factor = params.outer * params.inner;
    let output_width = params.width * factor;
    let output_height = params.height * factor;
    if i >= params.images * output_height * output_width * params.channels { return; }
    let channel = i % params.channels;
    let x = i / params.channels % output_width;
    let y = i / (params.channels * output_width) % output_height;
    let image = i / (params.channels * output_width * output_height);
    var place = (image * params.height + y / factor) * params.width + x / factor;
    place = (place * params.outer + y % factor / params.inner) * params.outer + x % factor / params.inner;
    place = (place * params.inner + y % params.inner) * params.inner + x % params.inner;
    output[i] = input[place * params.channels + channel];
}
