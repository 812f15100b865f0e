// output[height, width] = a photo with a mask laid over it in a colour, a word a texel and `stride` words a
// row: red, green, blue and the photo's alpha, the lowest bits of a word first, or blue, green, red; what is
// copied to a texture of 8 bits a channel. A photo of another size is interpolated. Colours are bytes as they
// are stored; what is stored as sRGB, and read as linear, is made sRGB again. Words behind a row's end are
// zero.
//
// A byte is photo * (1 - share) + colour * share, rounded. The share is the opacity times the probability;
// with a threshold it is the opacity where the probability reaches that, and 1 at the edge there: where the
// mask is left within so many texels to a side as the outline is wide.

struct Params {
    height: u32,
    width: u32,
    stride: u32,
    photo_height: u32,
    photo_width: u32,
    // Rows and columns of the photo for one of the output; exactly 1 where there are as many.
    scale_down: f32,
    scale_across: f32,
    is_srgb: u32,
    // Whether the output has blue in its lowest bits.
    is_bgra: u32,
    has_threshold: u32,
    threshold: f32,
    opacity: f32,
    outline: u32,
    // Red in the lowest bits.
    colour: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var photo: texture_2d<f32>;
@group(0) @binding(2) var<storage, read> probabilities: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<u32>;

#include "shared/srgb.wgsl"

// The bytes of a texel of the photo.
fn stored(x: u32, y: u32) -> vec4<f32> {
    let texel = clamp(textureLoad(photo, vec2(x, y), 0), vec4(0.0), vec4(1.0));
    var colour = texel.rgb;
    if params.is_srgb == 1u { colour = encoded(colour); }
    return floor(vec4(colour, texel.a) * 255.0 + 0.5);
}

fn interpolated(x: u32, y: u32) -> vec4<f32> {
    let scale = vec2(params.scale_across, params.scale_down);
    let source = max((vec2(f32(x), f32(y)) + 0.5) * scale - 0.5, vec2(0.0));
    let last = vec2(params.photo_width - 1u, params.photo_height - 1u);
    let near = min(vec2<u32>(source), last);
    let far = min(near + 1u, last);
    let t = clamp(source - vec2<f32>(near), vec2(0.0), vec2(1.0));
    return mix(
        mix(stored(near.x, near.y), stored(far.x, near.y), t.x),
        mix(stored(near.x, far.y), stored(far.x, far.y), t.x),
        t.y,
    );
}

fn is_inside(x: u32, y: u32) -> bool {
    return probabilities[y * params.width + x] >= params.threshold;
}

fn share_of_colour(x: u32, y: u32) -> f32 {
    if params.has_threshold == 0u { return params.opacity * probabilities[y * params.width + x]; }
    if !is_inside(x, y) { return 0.0; }
    let right = x + min(params.outline, params.width - 1u - x);
    let down = y + min(params.outline, params.height - 1u - y);
    let is_within = is_inside(x - min(x, params.outline), y) && is_inside(right, y)
        && is_inside(x, y - min(y, params.outline)) && is_inside(x, down);
    return select(1.0, params.opacity, is_within);
}

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= params.height * params.stride { return; }
    let x = i % params.stride;
    let y = i / params.stride;
    if x >= params.width {
        output[i] = 0u;
        return;
    }
    let share = share_of_colour(x, y);
    let under = interpolated(x, y);
    let colour = vec3<f32>((vec3(params.colour) >> vec3(0u, 8u, 16u)) & vec3(255u));
    let blended = under.rgb * (1.0 - share) + colour * share;
    var bytes = vec4<u32>(clamp(vec4(blended, under.a) + 0.5, vec4(0.0), vec4(255.0)));
    if params.is_bgra == 1u { bytes = bytes.bgra; }
    output[i] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
