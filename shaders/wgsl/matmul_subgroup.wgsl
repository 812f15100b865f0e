// output[M, N] = activation(input[M, K] · weight[K, N] + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for software adapters. They load texels as vectors, but storage and workgroup memory lane by lane, and barriers
// are slow on them. So a workgroup is one subgroup, which owns ROWS rows and one texel of columns per lane, and both operands
// are rgba32float textures of four columns per texel. The lanes hold a strip of every row of the input between them, one
// texel each, and each lane needs every texel of the strip. With 8 lanes, subgroupShuffle passes the texels around. With more
// lanes lavapipe shuffles lane by lane unless the source lanes are constants, so 16 lanes rotate the strip by one instead:
// a lane multiplies its own texel first, then the next lane's.
//
// The operands are storage textures, because a sampled texture is loaded through a function that looks up levels of detail.
// The weight is packed in panels: the columns of one workgroup together, and in each texture row what is multiplied with one
// strip, in that order. So a workgroup reads its panel from end to end, and the processor prefetches it. Panels are padded
// with zeros. Neighbouring workgroups share a panel, not rows of the input. The loop over lanes is not unrolled, so that the
// kernel fits the processor's instruction cache.
//
// Rows are kept in arrays of eight, because the loops over them must be unrolled: their arrays then live in registers;
// otherwise in memory, which lavapipe reads and writes lane by lane. Mesa 25.0 unrolls a loop over 8 rows, but not over 24.
//
// The input and the output may hold several groups of columns side by side, all multiplied with the same weight.

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
@group(0) @binding(2) var weight: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var residual: texture_storage_2d<rgba32float, read>;
@group(0) @binding(5) var output: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 24u;
alias EightRows = array<vec4<f32>, 8>;

// Four columns of four rows of the weight: what the strip's texel of the lane `source` meets in this one.
fn weight_texels(source: u32, lane: u32, panel_row: u32) -> mat4x4<f32> {
    let place = vec2(source * 4u * LANES + lane, panel_row);
    return mat4x4<f32>(
        textureLoad(weight, place),
        textureLoad(weight, place + vec2(LANES, 0u)),
        textureLoad(weight, place + vec2(2u * LANES, 0u)),
        textureLoad(weight, place + vec2(3u * LANES, 0u)),
    );
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
