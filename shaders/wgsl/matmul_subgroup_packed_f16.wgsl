// output[M, N] = activation(input[M, K] · weight[K, N] + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// As matmul_subgroup, with an f16 weight: a texel of a panel has four columns of two values of K. That halves the weight's
// memory and its loads. Everything else is the same text, which a test checks.

struct Params {
    rows: u32,
    /// Texels per row of the output, of one group: columns / 4, rounded up.
    column_texels: u32,
    /// Texels per row of the input, of one group: inner / 4, rounded up.
    inner_texels: u32,
    has_bias: u32,
    has_residual: u32,
}

override ACTIVATION: u32 = 0u;
/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var weight: texture_storage_2d<rgba32uint, read>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var residual: texture_storage_2d<rgba32float, read>;
@group(0) @binding(5) var output: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 24u;
alias EightRows = array<vec4<f32>, 8>;

// The eight f16 values of a texel.
fn floats(texel: vec4<u32>) -> mat2x4<f32> {
    return mat2x4<f32>(
        vec4(unpack2x16float(texel.x), unpack2x16float(texel.y)),
        vec4(unpack2x16float(texel.z), unpack2x16float(texel.w)),
    );
}

// Four columns of four rows of the weight: what the strip's texel of the lane `source` meets in this one.
fn weight_texels(source: u32, lane: u32, panel_row: u32) -> mat4x4<f32> {
    let place = vec2(source * 2u * LANES + lane, panel_row);
    let first = floats(textureLoad(weight, place));
    let second = floats(textureLoad(weight, place + vec2(LANES, 0u)));
    return mat4x4<f32>(first[0], first[1], second[0], second[1]);
}

fn accumulate(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
}

// Adds to eight rows of sums what the strip's texel of the lane `source` makes with the weight. After all lanes the strip is as before.
fn multiply(strip: ptr<function, EightRows>, sums: ptr<function, EightRows>, weight: mat4x4<f32>, source: u32, lane: u32) {
    for (var row = 0u; row < 8u; row++) {
        if LANES == 8u {
            (*sums)[row] = accumulate((*sums)[row], subgroupShuffle((*strip)[row], source), weight);
        } else {
            (*sums)[row] = accumulate((*sums)[row], (*strip)[row], weight);
            (*strip)[row] = subgroupShuffle((*strip)[row], (lane + 1u) % LANES);
        }
    }
}

// A texel of eight rows. Rows beyond the edge repeat the last one: loads stay inside the texture.
fn load_rows(rows: ptr<function, EightRows>, texel: u32, first_row: u32) {
    for (var row = 0u; row < 8u; row++) {
        (*rows)[row] = textureLoad(input, vec2<u32>(texel, min(first_row + row, params.rows - 1u)));
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_row = workgroup.x * ROWS;
    let panel = workgroup.y;
    let group = workgroup.z;
    let steps = (params.inner_texels + LANES - 1u) / LANES;
    var sums_0: EightRows;
    var sums_8: EightRows;
    var sums_16: EightRows;

    for (var step = 0u; step < steps; step++) {
        // Texels beyond the edge repeat the last one, too: the weight is zero there.
        let texel = group * params.inner_texels + min(step * LANES + lane, params.inner_texels - 1u);
        var strip_0: EightRows;
        var strip_8: EightRows;
        var strip_16: EightRows;
        load_rows(&strip_0, texel, first_row);
        load_rows(&strip_8, texel, first_row + 8u);
        load_rows(&strip_16, texel, first_row + 16u);
        for (var source = 0u; source < LANES; source++) {
            let weight = weight_texels(source, lane, panel * steps + step);
            multiply(&strip_0, &sums_0, weight, source, lane);
            multiply(&strip_8, &sums_8, weight, source, lane);
            multiply(&strip_16, &sums_16, weight, source, lane);
        }
    }

    let column = panel * LANES + lane;
    if column < params.column_texels {
        let bias = bias_of(column);
        let place = group * params.column_texels + column;
        finish_rows(&sums_0, bias, place, first_row);
        finish_rows(&sums_8, bias, place, first_row + 8u);
        finish_rows(&sums_16, bias, place, first_row + 16u);
    }
}

fn bias_of(column: u32) -> vec4<f32> {
    if params.has_bias == 0u { return vec4<f32>(); }
    return bias[column];
}

fn finish_rows(sums: ptr<function, EightRows>, bias: vec4<f32>, column: u32, first_row: u32) {
    for (var row = 0u; row < 8u; row++) { finish((*sums)[row] + bias, column, first_row + row); }
}

fn finish(x: vec4<f32>, column: u32, row: u32) {
    if row >= params.rows { return; }
    var value = vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
    if params.has_residual != 0u { value += textureLoad(residual, vec2<u32>(column, row)); }
    textureStore(output, vec2<u32>(column, row), value);
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
