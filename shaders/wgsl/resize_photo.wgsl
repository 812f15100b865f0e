// output[y, x] = a pixel of a photo that is resized along one axis: red, green and blue as Pillow rounds them
// to bytes, the lowest first, in one word. The photo is a texture as renderers have them; what is stored as
// sRGB, and read as linear, is made sRGB again.
//
// Along the axis, output pixel i is the sum of the photo's pixels starts[i], starts[i] + 1, … by weights[i,
// …], integers in units of 2⁻²². Behind those of a pixel with fewer, weights are zero.

struct Params {
    // The photo.
    height: u32,
    width: u32,
    // The output along the axis, and the most weights of a pixel.
    length: u32,
    taps: u32,
    // 1 where columns become shorter or longer, 0 where rows do.
    is_vertical: u32,
    is_srgb: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var photo: texture_2d<f32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<i32>;
@group(0) @binding(4) var<storage, read_write> output: array<u32>;

#include "shared/srgb.wgsl"

fn bytes_of(pixel: vec2<u32>) -> vec3<i32> {
    var value = clamp(textureLoad(photo, pixel, 0).rgb, vec3(0.0), vec3(1.0));
    if params.is_srgb == 1u { value = encoded(value); }
    return vec3<i32>(value * 255.0 + 0.5);
}

fn store(i: u32, pixels: u32, bytes: vec3<u32>) {
    output[i] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u);
}

#include "shared/resize_axis.wgsl"
