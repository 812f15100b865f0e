// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for few rows, which is bound by reading the weight: a workgroup owns two columns of four rows. The 32 threads of
// a column split K between them and then add up their partial sums. K must be a multiple of four.

struct Params {
    rows: u32,
    columns: u32,
    inner: u32,
    has_bias: u32,
    has_residual: u32,
}

override ACTIVATION: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

// [column][thread of it], a component per row
var<workgroup> partial: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let column = workgroup.x * 2u + thread / 32u;
    let first_row = workgroup.y * 4u;
    let lane = thread % 32u;
    let vectors = params.inner / 4u;
    // Rows beyond the edge repeat the last one; they are not written.
    let last_row = params.rows - 1u;
    let row_starts = vectors * min(vec4(first_row) + vec4(0u, 1u, 2u, 3u), vec4(last_row));

    var sums = vec4<f32>();
    if column < params.columns {
        for (var vector = lane; vector < vectors; vector += 32u) {
            let rows = mat4x4<f32>(
                input[row_starts.x + vector],
                input[row_starts.y + vector],
                input[row_starts.z + vector],
                input[row_starts.w + vector],
            );
            sums += weight[column * vectors + vector] * rows;
        }
    }
    partial[thread] = sums;
    workgroupBarrier();
    for (var half = 16u; half > 0u; half /= 2u) {
        if lane < half { partial[thread] += partial[thread + half]; }
        workgroupBarrier();
    }

    // The first four threads of a column finish a row each.
    let row = first_row + lane;
    if lane >= 4u || row >= params.rows || column >= params.columns { return; }
    let place = row * params.columns + column;
    var value = partial[thread - lane][lane];
    if params.has_bias != 0u { value += bias[column]; }
    value = activate(value);
    if params.has_residual != 0u { value += residual[place]; }
    output[place] = value;
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
