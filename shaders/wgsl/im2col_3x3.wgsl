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

#include "shared/rows.wgsl"

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let pixel = row_of(workgroup, grid);
    if pixel >= params.images * params.height * params.width { return; }
    let x = pixel % params.width;
    let y = pixel / params.width % params.height;
    let image = pixel / (params.width * params.height);
    let map = image * (params.height * params.width + params.skip) + params.skip;
    for (var tap = 0u; tap < 9u; tap++) {
        // One column and one row too far to the right, so that none is negative.
        let right = x + tap % 3u;
        let below = y + tap / 3u;
        let is_inside = right > 0u && right <= params.width && below > 0u && below <= params.height;
        let source = (map + (below - 1u) * params.width + right - 1u) * params.channels;
        let target_start = (pixel * 9u + tap) * params.channels;
        for (var channel = thread; channel < params.channels; channel += THREADS) {
            var value = 0.0;
            if is_inside { value = input[source + channel]; }
            columns[target_start + channel] = value;
        }
    }
}
