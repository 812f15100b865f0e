// output[image, (y, a, c), (x, b, d), channel] = Σ_i input[image, y, x, (a, b), i] · weight[i, (c, d, channel)]
//     + bias[(c, d, channel)]: a transposed convolution whose kernel equals its stride, its pixels put in place. The input's
// rows are tokens, of one pixel each, or of `outer`² that another transposed convolution has made.
//
// matmul_subgroup_24 with another end: `group` pixels of a token are a product with the weight repeated that often
// along the diagonal of one panel, since the lanes of a workgroup own 64 columns and a pixel may have but 16. Every group of a
// token is given the same weight. The columns are stored one by one, in a buffer, where they belong.

struct Params {
    images: u32,
    height: u32,
    width: u32,
    /// Pixels of a token along a side.
    outer: u32,
    /// Of the `outer`² pixels of a token those that one product makes: a divisor.
    group: u32,
    /// The kernel's side: pixels that become of a pixel.
    inner: u32,
    channels: u32,
    /// Texels of a group in a row of the input: group · inputs / 4, rounded up; whole ones where there are several groups.
    group_texels: u32,
}

/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
/// [images · height · width, (outer, outer), inputs]
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var weight: texture_storage_2d<rgba32float, read>;
/// [group, inner, inner, channels]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

const ROWS: u32 = 24u;

// Four columns of four rows of the weight, from a panel's place on.
fn weight_texels(place: vec2<u32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        textureLoad(weight, place),
        textureLoad(weight, place + vec2(16u, 0u)),
        textureLoad(weight, place + vec2(32u, 0u)),
        textureLoad(weight, place + vec2(48u, 0u)),
    );
}

fn accumulate(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_row = workgroup.x * ROWS;
    let panel = workgroup.y;
    let first_texel = workgroup.z * params.group_texels;
    // Rows and texels beyond the edge repeat the last one: loads stay inside the texture, and the weight is zero there.
    let last_row = params.images * params.height * params.width - 1u;
    let last_texel = params.group_texels - 1u;
    let steps = (params.group_texels + LANES - 1u) / LANES;
    let next_lane = (lane + 1u) % LANES;
    var left: array<vec4<f32>, ROWS>;
    var right: array<vec4<f32>, ROWS>;

    for (var step = 0u; step < steps; step++) {
        let texel = first_texel + min(step * LANES + lane, last_texel);
        var strip: array<vec4<f32>, ROWS>;
        for (var row = 0u; row < ROWS; row++) {
            strip[row] = textureLoad(input, vec2<u32>(texel, min(first_row + row, last_row)));
        }
        for (var source = 0u; source < LANES; source++) {
            let place = vec2<u32>(source * 64u + lane, panel * steps + step);
            let left_weight = weight_texels(place);
            if LANES == 8u {
                let right_weight = weight_texels(place + vec2(8u, 0u));
                for (var row = 0u; row < ROWS; row++) {
                    let spread = subgroupShuffle(strip[row], source);
                    left[row] = accumulate(left[row], spread, left_weight);
                    right[row] = accumulate(right[row], spread, right_weight);
                }
            } else {
                for (var row = 0u; row < ROWS; row++) {
                    left[row] = accumulate(left[row], strip[row], left_weight);
                    strip[row] = subgroupShuffle(strip[row], next_lane);
                }
            }
        }
    }

    let texel = panel * 16u + lane;
    let left_places = places_in_token(workgroup.z, texel);
    let right_places = places_in_token(workgroup.z, texel + 8u);
    let left_bias = bias[min(texel, last_column() / 4u)];
    let right_bias = bias[min(texel + 8u, last_column() / 4u)];
    let side = params.outer * params.inner;
    var y = first_row / params.width;
    var x = first_row % params.width;
    for (var row = 0u; row < ROWS; row++) {
        if first_row + row <= last_row {
            let token = (y * side * params.width + x) * side * params.channels;
            store(left[row] + left_bias, left_places, token);
            if LANES == 8u { store(right[row] + right_bias, right_places, token); }
        }
        x += 1u;
        if x == params.width {
            x = 0u;
            y += 1u;
        }
    }
}

const NOWHERE: u32 = 0xffffffffu;

fn last_column() -> u32 {
    return params.group * params.inner * params.inner * params.channels - 1u;
}

// Where the four columns of a group's texel belong, from the token's first value on.
fn places_in_token(group: u32, texel: u32) -> vec4<u32> {
    let column = 4u * texel + vec4(0u, 1u, 2u, 3u);
    let channel = column % params.channels;
    let tap = column / params.channels;
    let pixel = group * params.group + tap / (params.inner * params.inner);
    let y = pixel / params.outer * params.inner + tap / params.inner % params.inner;
    let x = pixel % params.outer * params.inner + tap % params.inner;
    let place = (y * params.width * params.outer * params.inner + x) * params.channels + channel;
    return select(vec4(NOWHERE), place, column <= vec4(last_column()));
}

fn store(values: vec4<f32>, places: vec4<u32>, token: u32) {
    if places.x != NOWHERE { output[token + places.x] = values.x; }
    if places.y != NOWHERE { output[token + places.y] = values.y; }
    if places.z != NOWHERE { output[token + places.z] = values.z; }
    if places.w != NOWHERE { output[token + places.w] = values.w; }
}
