// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// As matmul_tile_vec4, as dot products: workgroup memory holds vectors of four values of K of one row or one column, in the
// order of global memory, and sums are accumulated with `dot`. Nothing is transposed. For GPUs with such an instruction.

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
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;

// Inner values and vectors of these per step.
const DEPTH: u32 = 16u;
const VECTORS: u32 = 4u;
// Rows from one vector of a tile to the next: 64, and one against bank conflicts.
const STRIDE: u32 = 65u;

// [inner vector][row % 4][row / 4], and columns likewise: threads side by side read vectors side by side.
var<workgroup> input_tile: array<vec4<f32>, 260>;
var<workgroup> weight_tile: array<vec4<f32>, 260>;

@compute @workgroup_size(16, 8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_row = workgroup.y * 64u;
    let first_column = workgroup.x * 64u;
    // Half of the threads stage the input and half the weight, a block each; neighbours read neighbouring vectors.
    let block_vector = thread % VECTORS;
    let block_four = thread % 64u / VECTORS;
    let place = block_vector * STRIDE + block_four;
    var upper: mat4x4<f32>;
    var lower: mat4x4<f32>;

    for (var depth = 0u; depth < params.inner; depth += DEPTH) {
        let vector = depth / 4u + block_vector;
        if thread < 64u {
            let row = first_row + 4u * block_four;
            input_tile[place] = input_vector(row, vector);
            input_tile[place + 16u] = input_vector(row + 1u, vector);
            input_tile[place + 32u] = input_vector(row + 2u, vector);
            input_tile[place + 48u] = input_vector(row + 3u, vector);
        } else {
            let column = first_column + 4u * block_four;
            weight_tile[place] = weight_vector(column, vector);
            weight_tile[place + 16u] = weight_vector(column + 1u, vector);
            weight_tile[place + 32u] = weight_vector(column + 2u, vector);
            weight_tile[place + 48u] = weight_vector(column + 3u, vector);
        }
        workgroupBarrier();
        for (var vector = 0u; vector < VECTORS; vector++) {
            let column = vector * STRIDE + local.x;
            let columns = mat4x4<f32>(
                weight_tile[column],
                weight_tile[column + 16u],
                weight_tile[column + 32u],
                weight_tile[column + 48u],
            );
            upper += inner_products(vector * STRIDE + local.y, columns);
            lower += inner_products(vector * STRIDE + local.y + 8u, columns);
        }
        workgroupBarrier();
    }

    let column = first_column / 4u + local.x;
    finish_block(upper, first_row + 4u * local.y, column);
    finish_block(lower, first_row + 32u + 4u * local.y, column);
}

// Four inner values of a row of the input, zeros beyond either edge.
fn input_vector(row: u32, vector: u32) -> vec4<f32> {
    let vectors = params.inner / 4u;
    if row >= params.rows || vector >= vectors { return vec4<f32>(); }
    return input[row * vectors + vector];
}

// Four inner values of a column of the weight, zeros beyond either edge.
fn weight_vector(column: u32, vector: u32) -> vec4<f32> {
    let vectors = params.inner / 4u;
    if column >= params.columns || vector >= vectors { return vec4<f32>(); }
    return weight[column * vectors + vector];
}

// One vector's products of four rows, from a place in their tile on, and four columns.
fn inner_products(row: u32, columns: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        inner_product(input_tile[row], columns),
        inner_product(input_tile[row + 16u], columns),
        inner_product(input_tile[row + 32u], columns),
        inner_product(input_tile[row + 48u], columns),
    );
}

fn inner_product(row: vec4<f32>, columns: mat4x4<f32>) -> vec4<f32> {
    return vec4(dot(row, columns[0]), dot(row, columns[1]), dot(row, columns[2]), dot(row, columns[3]));
}

// Four rows of four columns each, `column` counting vectors.
fn finish_block(sums: mat4x4<f32>, row: u32, column: u32) {
    finish(sums[0], row, column);
    finish(sums[1], row + 1u, column);
    finish(sums[2], row + 2u, column);
    finish(sums[3], row + 3u, column);
}

fn finish(sum: vec4<f32>, row: u32, column: u32) {
    let vectors = params.columns / 4u;
    if row >= params.rows || column >= vectors { return; }
    let place = row * vectors + column;
    var x = sum;
    if params.has_bias != 0u { x += bias[column]; }
    var value = vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
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
