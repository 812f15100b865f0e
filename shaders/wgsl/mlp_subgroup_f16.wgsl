// output[rows, columns] = activation(input[rows, inner] · up[inner, hidden] + up_bias) · down[hidden, columns] + down_bias
//                         + residual[rows, columns], inner and columns 33 to 64
//
// mlp_subgroup for weights in halves, as matmul_subgroup_16_f16 has them; what is not the weights is the same, which a test
// sees to.

struct Params {
    rows: u32,
    /// Texels a row of the output: columns / 4, rounded up.
    column_texels: u32,
    /// Texels a row of the input: inner / 4, rounded up.
    inner_texels: u32,
    /// Texels a row of the hidden values: hidden / 4, rounded up.
    hidden_texels: u32,
}

override ACTIVATION: u32 = 0u;
/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var up: texture_storage_2d<rgba32uint, read>;
@group(0) @binding(3) var<storage, read> up_bias: array<vec4<f32>>;
@group(0) @binding(4) var down: texture_storage_2d<rgba32uint, read>;
@group(0) @binding(5) var<storage, read> down_bias: array<vec4<f32>>;
@group(0) @binding(6) var residual: texture_2d<f32>;
@group(0) @binding(7) var output: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 24u;

// The eight halves of a texel.
fn floats(texel: vec4<u32>) -> mat2x4<f32> {
    return mat2x4<f32>(
        vec4(unpack2x16float(texel.x), unpack2x16float(texel.y)),
        vec4(unpack2x16float(texel.z), unpack2x16float(texel.w)),
    );
}

// Four columns of four rows of a weight, from a panel's place on.
fn up_texels(place: vec2<u32>) -> mat4x4<f32> {
    let first = floats(textureLoad(up, place));
    let second = floats(textureLoad(up, place + vec2(16u, 0u)));
    return mat4x4<f32>(first[0], first[1], second[0], second[1]);
}

fn down_texels(place: vec2<u32>) -> mat4x4<f32> {
    let first = floats(textureLoad(down, place));
    let second = floats(textureLoad(down, place + vec2(16u, 0u)));
    return mat4x4<f32>(first[0], first[1], second[0], second[1]);
}

fn accumulate(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_row = workgroup.x * ROWS;
    let last_row = params.rows - 1u;
    // Texels and rows beyond the edge repeat the last one: loads stay inside the texture, and the weights are zero there.
    let last_texel = params.inner_texels - 1u;
    var input_left: array<vec4<f32>, ROWS>;
    var input_right: array<vec4<f32>, ROWS>;
    var sums_left: array<vec4<f32>, ROWS>;
    var sums_right: array<vec4<f32>, ROWS>;
    for (var row = 0u; row < ROWS; row++) {
        let place = min(first_row + row, last_row);
        input_left[row] = textureLoad(input, vec2<u32>(min(lane, last_texel), place));
        input_right[row] = textureLoad(input, vec2<u32>(min(lane + 8u, last_texel), place));
    }

    let panels = (params.hidden_texels + 15u) / 16u;
    let strips = 16u / LANES;
    let next_lane = (lane + 1u) % LANES;
    for (var panel = 0u; panel < panels; panel++) {
        // Columns beyond the edge repeat the last bias, and meet rows of zeros.
        let column = panel * 16u + lane;
        let left_bias = up_bias[min(column, params.hidden_texels - 1u)];
        let right_bias = up_bias[min(column + 8u, params.hidden_texels - 1u)];
        var left: array<vec4<f32>, ROWS>;
        var right: array<vec4<f32>, ROWS>;
        for (var row = 0u; row < ROWS; row++) { left[row] = left_bias; }
        for (var row = 0u; row < ROWS; row++) { right[row] = right_bias; }
        for (var source = 0u; source < LANES; source++) {
            let place = vec2<u32>(source * 32u + lane, panel * strips);
            let left_weight = up_texels(place);
            if LANES == 8u {
                let right_weight = up_texels(place + vec2(8u, 0u));
                for (var row = 0u; row < ROWS; row++) {
                    let spread = subgroupShuffle(input_left[row], source);
                    left[row] = accumulate(left[row], spread, left_weight);
                    right[row] = accumulate(right[row], spread, right_weight);
                }
            } else {
                for (var row = 0u; row < ROWS; row++) {
                    left[row] = accumulate(left[row], input_left[row], left_weight);
                    input_left[row] = subgroupShuffle(input_left[row], next_lane);
                }
            }
        }
        for (var source = 0u; LANES == 8u && source < 8u; source++) {
            let place = vec2<u32>(source * 32u + lane, panel * 2u + 1u);
            let left_weight = up_texels(place);
            let right_weight = up_texels(place + vec2(8u, 0u));
            for (var row = 0u; row < ROWS; row++) {
                let spread = subgroupShuffle(input_right[row], source);
                left[row] = accumulate(left[row], spread, left_weight);
                right[row] = accumulate(right[row], spread, right_weight);
            }
        }
        for (var row = 0u; row < ROWS; row++) { left[row] = activate_texel(left[row]); }
        for (var row = 0u; row < ROWS; row++) { right[row] = activate_texel(right[row]); }
        for (var source = 0u; source < LANES; source++) {
            let place = vec2<u32>(source * 32u + lane, panel * strips);
            let left_weight = down_texels(place);
            if LANES == 8u {
                let right_weight = down_texels(place + vec2(8u, 0u));
                for (var row = 0u; row < ROWS; row++) {
                    let spread = subgroupShuffle(left[row], source);
                    sums_left[row] = accumulate(sums_left[row], spread, left_weight);
                    sums_right[row] = accumulate(sums_right[row], spread, right_weight);
                }
            } else {
                for (var row = 0u; row < ROWS; row++) {
                    sums_left[row] = accumulate(sums_left[row], left[row], left_weight);
                    left[row] = subgroupShuffle(left[row], next_lane);
                }
            }
        }
        // Sixteen lanes have no right half, and of the last panel only the left one may be there.
        if LANES != 8u || panel * 16u + 8u >= params.hidden_texels { continue; }
        for (var source = 0u; source < 8u; source++) {
            let place = vec2<u32>(source * 32u + lane, panel * 2u + 1u);
            let left_weight = down_texels(place);
            let right_weight = down_texels(place + vec2(8u, 0u));
            for (var row = 0u; row < ROWS; row++) {
                let spread = subgroupShuffle(right[row], source);
                sums_left[row] = accumulate(sums_left[row], spread, left_weight);
                sums_right[row] = accumulate(sums_right[row], spread, right_weight);
            }
        }
    }

    if lane < params.column_texels {
        let left_bias = down_bias[lane];
        for (var row = 0u; row < ROWS; row++) { finish(sums_left[row] + left_bias, lane, first_row + row); }
    }
    if LANES == 8u && lane + 8u < params.column_texels {
        let right_bias = down_bias[lane + 8u];
        for (var row = 0u; row < ROWS; row++) { finish(sums_right[row] + right_bias, lane + 8u, first_row + row); }
    }
}

fn finish(sum: vec4<f32>, column: u32, row: u32) {
    if row >= params.rows { return; }
    let place = vec2<u32>(column, row);
    textureStore(output, place, sum + textureLoad(residual, place, 0));
}

fn activate_texel(x: vec4<f32>) -> vec4<f32> {
    return vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
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
