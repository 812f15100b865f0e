// output[rows, columns] = activation(input[rows, inner] · weight[inner, columns] + bias[columns]) + residual[rows, columns]
//
// The form for software adapters, which load texels as vectors but storage and workgroup memory lane by lane, and for
// which a barrier is dear: a workgroup is one subgroup, a lane owns ROWS rows × four columns, and both operands are
// rgba32float textures of four columns a texel. Eight lanes between them hold a strip of 32 inner values of every row;
// subgroupBroadcast hands each of its texels to all lanes. Its index must be a constant, hence the written-out calls;
// the loops over rows have constant bounds and are unrolled by every driver's compiler.
// The weight has its rows padded with zeros to a multiple of 32. matmul_subgroup_16 and _32 differ in ROWS alone.

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
override SUBGROUP_SIZE: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_2d<f32>;
@group(0) @binding(2) var weight: texture_2d<f32>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var residual: texture_2d<f32>;
@group(0) @binding(5) var output: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 32u;

// Four columns of the weight rows k to k + 3.
fn weight_texel(column: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        textureLoad(weight, vec2<u32>(column, k), 0),
        textureLoad(weight, vec2<u32>(column, k + 1u), 0),
        textureLoad(weight, vec2<u32>(column, k + 2u), 0),
        textureLoad(weight, vec2<u32>(column, k + 3u), 0),
    );
}

fn accumulate(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
}

@compute @workgroup_size(SUBGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let column = workgroup.x * SUBGROUP_SIZE + lane;
    let first_row = workgroup.y * ROWS;
    let last_row = params.rows - 1u;
    // Lanes and rows beyond the edge repeat the last one: loads stay inside the textures, nothing is stored for them.
    let weight_column = min(column, params.column_texels - 1u);
    var sums: array<vec4<f32>, ROWS>;

    for (var texel = 0u; texel < params.inner_texels; texel += 8u) {
        // Beyond inner_texels the weight is zero, so any finite value of the input will do.
        let input_texel = min(texel + lane % 8u, params.inner_texels - 1u);
        var strip: array<vec4<f32>, ROWS>;
        for (var row = 0u; row < ROWS; row++) {
            strip[row] = textureLoad(input, vec2<u32>(input_texel, min(first_row + row, last_row)), 0);
        }
        let b0 = weight_texel(weight_column, texel * 4u + 0u);
        for (var row = 0u; row < ROWS; row++) { sums[row] = accumulate(sums[row], subgroupBroadcast(strip[row], 0u), b0); }
        let b1 = weight_texel(weight_column, texel * 4u + 4u);
        for (var row = 0u; row < ROWS; row++) { sums[row] = accumulate(sums[row], subgroupBroadcast(strip[row], 1u), b1); }
        let b2 = weight_texel(weight_column, texel * 4u + 8u);
        for (var row = 0u; row < ROWS; row++) { sums[row] = accumulate(sums[row], subgroupBroadcast(strip[row], 2u), b2); }
        let b3 = weight_texel(weight_column, texel * 4u + 12u);
        for (var row = 0u; row < ROWS; row++) { sums[row] = accumulate(sums[row], subgroupBroadcast(strip[row], 3u), b3); }
        let b4 = weight_texel(weight_column, texel * 4u + 16u);
        for (var row = 0u; row < ROWS; row++) { sums[row] = accumulate(sums[row], subgroupBroadcast(strip[row], 4u), b4); }
        let b5 = weight_texel(weight_column, texel * 4u + 20u);
        for (var row = 0u; row < ROWS; row++) { sums[row] = accumulate(sums[row], subgroupBroadcast(strip[row], 5u), b5); }
        let b6 = weight_texel(weight_column, texel * 4u + 24u);
        for (var row = 0u; row < ROWS; row++) { sums[row] = accumulate(sums[row], subgroupBroadcast(strip[row], 6u), b6); }
        let b7 = weight_texel(weight_column, texel * 4u + 28u);
        for (var row = 0u; row < ROWS; row++) { sums[row] = accumulate(sums[row], subgroupBroadcast(strip[row], 7u), b7); }
    }

    if column >= params.column_texels { return; }
    var offset = vec4<f32>();
    if params.has_bias != 0u { offset = bias[column]; }
    for (var row = 0u; row < ROWS; row++) {
        if first_row + row < params.rows {
            let place = vec2<u32>(column, first_row + row);
            let x = sums[row] + offset;
            var value = vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
            if params.has_residual != 0u { value += textureLoad(residual, place, 0); }
            textureStore(output, place, value);
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
