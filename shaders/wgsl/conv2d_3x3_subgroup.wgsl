// output[image, y, x, column] = activation(Σ_(ky, kx, channel) input[image, y + ky - 1, x + kx - 1, channel]
//     · weight[(ky, kx, channel), column] + bias[column]), zero outside the map: a 3×3 convolution with padding 1, channels
// last. `skip` leading rows of each image (the class token) are stepped over.
//
// matmul_subgroup_24 with other loads: a strip holds the rows' neighbours in one of nine directions, so that the
// neighbourhoods are never written. The weight lies in the same panels, a direction's channels padded with zeros to whole
// strips.

struct Params {
    images: u32,
    height: u32,
    width: u32,
    skip: u32,
    /// Texels a row of the input: channels / 4, rounded up.
    channel_texels: u32,
    /// Texels a row of the output: columns / 4, rounded up.
    column_texels: u32,
}

override ACTIVATION: u32 = 0u;
/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
/// [images · (skip + height · width), channels]
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var weight: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
/// [images · height · width, columns]
@group(0) @binding(4) var output: texture_storage_2d<rgba32float, write>;

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
    let image_rows = params.height * params.width;
    let rows = params.images * image_rows;
    let strips = (params.channel_texels + LANES - 1u) / LANES;
    let next_lane = (lane + 1u) % LANES;

    // For each row its own place in the input, and a bit for each direction in which it has a neighbour. Rows beyond the last
    // repeat that.
    var sources: array<u32, ROWS>;
    var directions: array<u32, ROWS>;
    var image = first_row / image_rows;
    var y = first_row % image_rows / params.width;
    var x = first_row % params.width;
    for (var row = 0u; row < ROWS; row++) {
        sources[row] = params.skip + image * (params.skip + image_rows) + y * params.width + x;
        let across = select(0u, 1u, x > 0u) | 2u | select(0u, 4u, x + 1u < params.width);
        directions[row] = select(0u, across, y > 0u) | across << 3u | select(0u, across << 6u, y + 1u < params.height);
        if first_row + row + 1u < rows {
            x += 1u;
            if x == params.width {
                x = 0u;
                y += 1u;
            }
            if y == params.height {
                y = 0u;
                image += 1u;
            }
        }
    }

    var left: array<vec4<f32>, ROWS>;
    var right: array<vec4<f32>, ROWS>;
    for (var step = 0u; step < 9u * strips; step++) {
        let direction = step / strips;
        let texel = min(step % strips * LANES + lane, params.channel_texels - 1u);
        // Added to a row's place it wraps around to the neighbour's.
        let offset = (direction / 3u - 1u) * params.width + direction % 3u - 1u;
        var strip: array<vec4<f32>, ROWS>;
        for (var row = 0u; row < ROWS; row++) {
            let is_inside = (directions[row] >> direction & 1u) != 0u;
            let source = sources[row] + select(0u, offset, is_inside);
            strip[row] = select(vec4(0.0), textureLoad(input, vec2<u32>(texel, source)), is_inside);
        }
        for (var source = 0u; source < LANES; source++) {
            let place = vec2<u32>(source * 64u + lane, panel * 9u * strips + step);
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

    let column = panel * 16u + lane;
    if column < params.column_texels {
        let left_bias = bias[column];
        for (var row = 0u; row < ROWS; row++) { finish(left[row] + left_bias, column, first_row + row, rows); }
    }
    if LANES == 8u && column + 8u < params.column_texels {
        let right_bias = bias[column + 8u];
        for (var row = 0u; row < ROWS; row++) { finish(right[row] + right_bias, column + 8u, first_row + row, rows); }
    }
}

fn finish(x: vec4<f32>, column: u32, row: u32, rows: u32) {
    if row >= rows { return; }
    textureStore(output, vec2<u32>(column, row), vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w)));
}

// The same function stands in every kernel with an activation epilogue; a test holds the copies together.
fn activate(x: f32) -> f32 {
    switch ACTIVATION {
        case 1u: { return x / (1.0 + exp(-1.702 * x)); }
        case 2u: { return 0.5 * x * (1.0 + erf(x * 0.70710678)); }
        case 3u: { return x * (1.0 - 1.0 / (exp(min(1.5957691 * (x + 0.044715 * x * x * x), 80.0)) + 1.0)); }
        case 4u: { return max(x, 0.0); }
        case 5u: { return 1.0507010 * select(1.6732632 * (exp(min(x, 0.0)) - 1.0), x, x > 0.0); }
        default: { return x; }
    }
}

// Abramowitz and Stegun 7.1.26; absolute error below 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - polynomial * exp(-x * x));
}
