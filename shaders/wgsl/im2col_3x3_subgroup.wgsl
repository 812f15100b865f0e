// columns[image, y, x, (ky, kx, channel)] = input[image, y + ky - 1, x + kx - 1, channel], zero outside the
// map
//
// As im2col_3x3, on textures of four channels per texel, as the product behind it reads them: the number of
// channels is a multiple of four. A workgroup is one subgroup and takes ROWS pixels of an image.

struct Params {
    images: u32,
    height: u32,
    width: u32,
    /// Texels per pixel: channels / 4.
    channel_texels: u32,
    skip: u32,
}

/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var columns: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 8u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let pixels = params.height * params.width;
    let first = workgroup.x * ROWS;
    let image = workgroup.y;
    let map = image * (pixels + params.skip) + params.skip;
    for (var texel = lane; texel < params.channel_texels; texel += LANES) {
        var x = first % params.width;
        var y = first / params.width;
        for (var pixel = first; pixel < min(first + ROWS, pixels); pixel++) {
            for (var tap = 0u; tap < 9u; tap++) {
                // One column and one row too far to the right and below, so that none is negative.
                let right = x + tap % 3u;
                let below = y + tap / 3u;
                let is_inside = right > 0u && right <= params.width && below > 0u && below <= params.height;
                let row = select(map + pixel, map + (below - 1u) * params.width + right - 1u, is_inside);
                let value = select(vec4<f32>(), textureLoad(input, vec2(texel, row)), is_inside);
                textureStore(columns, vec2(tap * params.channel_texels + texel, image * pixels + pixel), value);
            }
            x++;
            if x == params.width {
                x = 0u;
                y++;
            }
        }
    }
}
