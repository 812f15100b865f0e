// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// As matmul_skinny, with a weight of f16 values, two per word, as in matmul_tile_packed_f16. A workgroup owns four columns of
// four rows. The 32 threads of a column split K between them and then add up their partial sums. K and N must be multiples of
// four.

struct Params {
    rows: u32,
    columns: u32,
    inner: u32,
    has_bias: u32,
    has_residual: u32,
}

override ACTIVATION: u32 = 0u;
/// 1 where the input lies in f16, as the weight does, and where the output is to; else they lie as a float per word.
override INPUT_F16: u32 = 0u;
override OUTPUT_F16: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec2<u32>>;

// Threads that share a column.
const LANES: u32 = 32u;

// [column][thread of it], a component per row
var<workgroup> partial: array<vec4<f32>, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    // In range, as columns are a multiple of four.
    let column = workgroup.x * 4u + thread / LANES;
    let first_row = workgroup.y * 4u;
    let lane = thread % LANES;
    let vectors = params.inner / 4u;
    // Rows beyond the edge repeat the last one; they are not written.
    let last_row = params.rows - 1u;
    let row_starts = vectors * min(vec4(first_row) + vec4(0u, 1u, 2u, 3u), vec4(last_row));

    var sums = vec4<f32>();
    for (var vector = lane; vector < vectors; vector += LANES) {
        let rows = mat4x4<f32>(
            read_input(row_starts.x + vector),
            read_input(row_starts.y + vector),
            read_input(row_starts.z + vector),
            read_input(row_starts.w + vector),
        );
        sums += widened(weight[column * vectors + vector]) * rows;
    }
    partial[thread] = sums;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half { partial[thread] += partial[thread + half]; }
        workgroupBarrier();
    }

    // The first four threads finish a row each.
    if thread >= 4u { return; }
    let sum = vec4(
        partial[0][thread],
        partial[LANES][thread],
        partial[2u * LANES][thread],
        partial[3u * LANES][thread],
    );
    finish(sum, first_row + thread, workgroup.x);
}

// Four values of the input, as it lies.
fn read_input(place: u32) -> vec4<f32> {
    if INPUT_F16 != 0u { return widened(input[place]); }
    return bitcast<vec4<f32>>(vec4(input[2u * place], input[2u * place + 1u]));
}

fn widened(halves: vec2<u32>) -> vec4<f32> {
    return vec4(unpack2x16float(halves.x), unpack2x16float(halves.y));
}

fn finish(sum: vec4<f32>, row: u32, column: u32) {
    let vectors = params.columns / 4u;
    if row >= params.rows || column >= vectors { return; }
    let place = row * vectors + column;
    var x = sum;
    if params.has_bias != 0u { x += bias[column]; }
    var value = vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
    if params.has_residual != 0u { value += residual[place]; }
    write_output(place, value);
}

// Four values of the output, as it lies. What is beyond the largest half becomes that: an infinity would spread.
fn write_output(place: u32, value: vec4<f32>) {
    if OUTPUT_F16 != 0u {
        let bounded = clamp(value, vec4(-65504.0), vec4(65504.0));
        output[place] = vec2(pack2x16float(bounded.xy), pack2x16float(bounded.zw));
    } else {
        let words = bitcast<vec4<u32>>(value);
        output[2u * place] = words.xy;
        output[2u * place + 1u] = words.zw;
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
