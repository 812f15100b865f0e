// output[channel, y, x] = table[channel, byte], where byte is that of a picture's pixel, resized along one
// axis and rounded as Pillow does it. A pixel is a word: red, green and blue, the lowest byte first. The
// table is what a processor makes of each byte.
//
// Along the axis, output pixel i is the sum of the picture's pixels starts[i], starts[i] + 1, … by weights[i,
// …], integers in units of 2⁻²². Behind those of a pixel with fewer, weights are zero.

struct Params {
    // The picture.
    height: u32,
    width: u32,
    // The output along the axis, and the most weights of a pixel.
    length: u32,
    taps: u32,
    // 1 where columns become shorter or longer, 0 where rows do.
    is_vertical: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> picture: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<i32>;
@group(0) @binding(4) var<storage, read> table: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

fn bytes_of(pixel: vec2<u32>) -> vec3<i32> {
    let word = picture[pixel.y * params.width + pixel.x];
    return vec3<i32>((vec3(word) >> vec3(0u, 8u, 16u)) & vec3(255u));
}

fn store(i: u32, pixels: u32, bytes: vec3<u32>) {
    output[i] = table[bytes.x];
    output[pixels + i] = table[256u + bytes.y];
    output[2u * pixels + i] = table[512u + bytes.z];
}

#include "shared/resize_axis.wgsl"
