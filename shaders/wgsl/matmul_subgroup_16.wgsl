// output[rows, columns] = activation(input[rows, inner] · weight[inner, columns] + bias[columns]) + residual[rows, columns]
//
// The form for software adapters, which load texels as vectors but storage and workgroup memory lane by lane, and for
// which a barrier is dear: a workgroup is one subgroup, which owns ROWS rows × 64 columns, and both operands are rgba32float
// textures of four columns a texel. The lanes between them hold a strip of every row of the input, a texel each, and every
// texel of it has to meet all lanes. Eight lanes, which own two texels of columns each, are handed one after the other by
// subgroupShuffle. For more lanes lavapipe does that one by one, unless the lanes it reads are constants: sixteen lanes, of
// one texel of columns, turn the strip by one instead, so that a lane multiplies its own texel first, then the next one's.
//
// The operands are storage textures, since a sampled one is loaded through a function that looks up levels of detail. The
// weight lies in panels, a workgroup's 64 columns together, a texture row being what meets a strip, in the order in which it
// does: the workgroup reads it from end to end, and the processor fetches ahead. It is padded with zeros to whole panels.
// Neighbouring workgroups share a panel rather than rows of the input. The loop over lanes stays a loop, so that the kernel
// fits the processor's instruction cache; those over rows have constant bounds and are unrolled by every driver's compiler.
// matmul_subgroup_16 and _24 differ in ROWS alone.

struct Params {
    rows: u32,
    /// Texels a row of the output: columns / 4, rounded up.
    column_texels: u32,
    /// Texels a row of the input: inner / 4, rounded up.
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

const ROWS: u32 = 16u;

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
    // Rows and texels beyond the edge repeat the last one: loads stay inside the texture, and the weight is zero there.
    let last_row = params.rows - 1u;
    let last_texel = params.inner_texels - 1u;
    let steps = (params.inner_texels + LANES - 1u) / LANES;
    let next_lane = (lane + 1u) % LANES;
    var left: array<vec4<f32>, ROWS>;
    var right: array<vec4<f32>, ROWS>;

    for (var step = 0u; step < steps; step++) {
        let texel = min(step * LANES + lane, last_texel);
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

    let column = panel * 16u + lane;
    if column < params.column_texels {
        let left_bias = bias_of(column);
        for (var row = 0u; row < ROWS; row++) { finish(left[row] + left_bias, column, first_row + row); }
    }
    if LANES == 8u && column + 8u < params.column_texels {
        let right_bias = bias_of(column + 8u);
        for (var row = 0u; row < ROWS; row++) { finish(right[row] + right_bias, column + 8u, first_row + row); }
    }
}

fn bias_of(column: u32) -> vec4<f32> {
    if params.has_bias == 0u { return vec4<f32>(); }
    return bias[column];
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
