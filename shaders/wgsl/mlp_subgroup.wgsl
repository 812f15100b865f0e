// output[rows, columns] = activation(input[rows, inner] · up[inner, hidden] + up_bias) · down[hidden, columns] + down_bias
//                         + residual[rows, columns], inner and columns at most 64
//
// A narrow model's MLP for software adapters, in the manner of matmul_subgroup: the hidden values, many times as wide as
// what goes in and out, never leave the lanes, while two products would store and load them all (and an image store costs
// as much as 60 products of a narrow weight). A workgroup is one subgroup of eight lanes. Between them they hold ROWS
// whole rows of the input, two texels a lane and row, and of the output; they walk the hidden columns 32 at a time, a texel
// a lane.
// Both weights have their rows padded with zeros: up to 64, down to a multiple of 32.

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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_2d<f32>;
@group(0) @binding(2) var up: texture_2d<f32>;
@group(0) @binding(3) var<storage, read> up_bias: array<vec4<f32>>;
@group(0) @binding(4) var down: texture_2d<f32>;
@group(0) @binding(5) var<storage, read> down_bias: array<vec4<f32>>;
@group(0) @binding(6) var residual: texture_2d<f32>;
@group(0) @binding(7) var output: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 16u;

// Four columns of the rows k to k + 3 of a weight.
fn up_texel(column: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        textureLoad(up, vec2<u32>(column, k), 0),
        textureLoad(up, vec2<u32>(column, k + 1u), 0),
        textureLoad(up, vec2<u32>(column, k + 2u), 0),
        textureLoad(up, vec2<u32>(column, k + 3u), 0),
    );
}

fn down_texel(column: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        textureLoad(down, vec2<u32>(column, k), 0),
        textureLoad(down, vec2<u32>(column, k + 1u), 0),
        textureLoad(down, vec2<u32>(column, k + 2u), 0),
        textureLoad(down, vec2<u32>(column, k + 3u), 0),
    );
}

fn accumulate(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_row = workgroup.x * ROWS;
    let last_row = params.rows - 1u;
    // Texels and rows beyond the edge repeat the last one: loads stay inside the textures, nothing is stored for them.
    let left = min(lane, params.column_texels - 1u);
    let right = min(lane + 8u, params.column_texels - 1u);
    var input_left: array<vec4<f32>, ROWS>;
    var input_right: array<vec4<f32>, ROWS>;
    var sums_left: array<vec4<f32>, ROWS>;
    var sums_right: array<vec4<f32>, ROWS>;
    for (var row = 0u; row < ROWS; row++) {
        let place = min(first_row + row, last_row);
        input_left[row] = textureLoad(input, vec2<u32>(min(lane, params.inner_texels - 1u), place), 0);
        input_right[row] = textureLoad(input, vec2<u32>(min(lane + 8u, params.inner_texels - 1u), place), 0);
    }

    for (var texel = 0u; texel < params.hidden_texels; texel += 8u) {
        let column = min(texel + lane, params.hidden_texels - 1u);
        var hidden: array<vec4<f32>, ROWS>;
        let offset = up_bias[column];
        for (var row = 0u; row < ROWS; row++) { hidden[row] = offset; }
        let u0 = up_texel(column, 0u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_left[row], 0u), u0); }
        let u1 = up_texel(column, 4u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_left[row], 1u), u1); }
        let u2 = up_texel(column, 8u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_left[row], 2u), u2); }
        let u3 = up_texel(column, 12u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_left[row], 3u), u3); }
        let u4 = up_texel(column, 16u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_left[row], 4u), u4); }
        let u5 = up_texel(column, 20u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_left[row], 5u), u5); }
        let u6 = up_texel(column, 24u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_left[row], 6u), u6); }
        let u7 = up_texel(column, 28u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_left[row], 7u), u7); }
        let u8 = up_texel(column, 32u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_right[row], 0u), u8); }
        let u9 = up_texel(column, 36u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_right[row], 1u), u9); }
        let u10 = up_texel(column, 40u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_right[row], 2u), u10); }
        let u11 = up_texel(column, 44u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_right[row], 3u), u11); }
        let u12 = up_texel(column, 48u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_right[row], 4u), u12); }
        let u13 = up_texel(column, 52u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_right[row], 5u), u13); }
        let u14 = up_texel(column, 56u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_right[row], 6u), u14); }
        let u15 = up_texel(column, 60u);
        for (var row = 0u; row < ROWS; row++) { hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_right[row], 7u), u15); }
        for (var row = 0u; row < ROWS; row++) {
            let x = hidden[row];
            hidden[row] = vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
        }
        // Beyond hidden_texels the weight is zero, so the repeated texel adds nothing.
        let left0 = down_texel(left, texel * 4u + 0u);
        for (var row = 0u; row < ROWS; row++) { sums_left[row] = accumulate(sums_left[row], subgroupBroadcast(hidden[row], 0u), left0); }
        let right0 = down_texel(right, texel * 4u + 0u);
        for (var row = 0u; row < ROWS; row++) { sums_right[row] = accumulate(sums_right[row], subgroupBroadcast(hidden[row], 0u), right0); }
        let left1 = down_texel(left, texel * 4u + 4u);
        for (var row = 0u; row < ROWS; row++) { sums_left[row] = accumulate(sums_left[row], subgroupBroadcast(hidden[row], 1u), left1); }
        let right1 = down_texel(right, texel * 4u + 4u);
        for (var row = 0u; row < ROWS; row++) { sums_right[row] = accumulate(sums_right[row], subgroupBroadcast(hidden[row], 1u), right1); }
        let left2 = down_texel(left, texel * 4u + 8u);
        for (var row = 0u; row < ROWS; row++) { sums_left[row] = accumulate(sums_left[row], subgroupBroadcast(hidden[row], 2u), left2); }
        let right2 = down_texel(right, texel * 4u + 8u);
        for (var row = 0u; row < ROWS; row++) { sums_right[row] = accumulate(sums_right[row], subgroupBroadcast(hidden[row], 2u), right2); }
        let left3 = down_texel(left, texel * 4u + 12u);
        for (var row = 0u; row < ROWS; row++) { sums_left[row] = accumulate(sums_left[row], subgroupBroadcast(hidden[row], 3u), left3); }
        let right3 = down_texel(right, texel * 4u + 12u);
        for (var row = 0u; row < ROWS; row++) { sums_right[row] = accumulate(sums_right[row], subgroupBroadcast(hidden[row], 3u), right3); }
        let left4 = down_texel(left, texel * 4u + 16u);
        for (var row = 0u; row < ROWS; row++) { sums_left[row] = accumulate(sums_left[row], subgroupBroadcast(hidden[row], 4u), left4); }
        let right4 = down_texel(right, texel * 4u + 16u);
        for (var row = 0u; row < ROWS; row++) { sums_right[row] = accumulate(sums_right[row], subgroupBroadcast(hidden[row], 4u), right4); }
        let left5 = down_texel(left, texel * 4u + 20u);
        for (var row = 0u; row < ROWS; row++) { sums_left[row] = accumulate(sums_left[row], subgroupBroadcast(hidden[row], 5u), left5); }
        let right5 = down_texel(right, texel * 4u + 20u);
        for (var row = 0u; row < ROWS; row++) { sums_right[row] = accumulate(sums_right[row], subgroupBroadcast(hidden[row], 5u), right5); }
        let left6 = down_texel(left, texel * 4u + 24u);
        for (var row = 0u; row < ROWS; row++) { sums_left[row] = accumulate(sums_left[row], subgroupBroadcast(hidden[row], 6u), left6); }
        let right6 = down_texel(right, texel * 4u + 24u);
        for (var row = 0u; row < ROWS; row++) { sums_right[row] = accumulate(sums_right[row], subgroupBroadcast(hidden[row], 6u), right6); }
        let left7 = down_texel(left, texel * 4u + 28u);
        for (var row = 0u; row < ROWS; row++) { sums_left[row] = accumulate(sums_left[row], subgroupBroadcast(hidden[row], 7u), left7); }
        let right7 = down_texel(right, texel * 4u + 28u);
        for (var row = 0u; row < ROWS; row++) { sums_right[row] = accumulate(sums_right[row], subgroupBroadcast(hidden[row], 7u), right7); }
    }

    let offset_left = down_bias[left];
    let offset_right = down_bias[right];
    for (var row = 0u; row < ROWS; row++) {
        if first_row + row < params.rows {
            if lane < params.column_texels {
                let place = vec2<u32>(lane, first_row + row);
                textureStore(output, place, sums_left[row] + offset_left + textureLoad(residual, place, 0));
            }
            if lane + 8u < params.column_texels {
                let place = vec2<u32>(lane + 8u, first_row + row);
                textureStore(output, place, sums_right[row] + offset_right + textureLoad(residual, place, 0));
            }
        }
    }
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
