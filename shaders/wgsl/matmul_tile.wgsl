// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The plain form for GPUs: a 64×64 tile of the output per workgroup, 4×4 of it per thread, both operands staged in
// workgroup memory, 16 values of K at a time. Any shape; the tiles are padded with zeros at the edges.

struct Params {
    rows: u32,
    columns: u32,
    inner: u32,
    has_bias: u32,
    has_residual: u32,
}

override ACTIVATION: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;

var<workgroup> input_tile: array<f32, 1024>;
var<workgroup> weight_tile: array<f32, 1024>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_row = workgroup.y * TILE;
    let first_column = workgroup.x * TILE;
    var sums: array<array<f32, 4>, 4>;

    for (var depth = 0u; depth < params.inner; depth += DEPTH) {
        // Neighbouring threads read neighbouring values of a row; tiles are stored [depth][row].
        for (var i = thread; i < TILE * DEPTH; i += 256u) {
            let k = depth + i % DEPTH;
            let row = first_row + i / DEPTH;
            let column = first_column + i / DEPTH;
            let place = (i % DEPTH) * TILE + i / DEPTH;
            var a = 0.0;
            if row < params.rows && k < params.inner { a = input[row * params.inner + k]; }
            input_tile[place] = a;
            var b = 0.0;
            if column < params.columns && k < params.inner { b = weight[column * params.inner + k]; }
            weight_tile[place] = b;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            for (var i = 0u; i < 4u; i++) {
                let a = input_tile[k * TILE + local.y * 4u + i];
                for (var j = 0u; j < 4u; j++) {
                    sums[i][j] = fma(a, weight_tile[k * TILE + local.x * 4u + j], sums[i][j]);
                }
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < 4u; i++) {
        let row = first_row + local.y * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let column = first_column + local.x * 4u + j;
            if row < params.rows && column < params.columns {
                let place = row * params.columns + column;
                var value = sums[i][j];
                if params.has_bias != 0u { value += bias[column]; }
                value = activate(value);
                if params.has_residual != 0u { value += residual[place]; }
                output[place] = value;
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
