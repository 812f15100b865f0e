// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for GPUs if K and N are multiples of four: a 64×64 tile of the output per workgroup, 8×4 of it per thread.
// Operands are loaded as vectors of four values of K. Blocks of 4×4 are transposed on their way to workgroup memory, where
// a vector is then four rows, or four columns, of one K. Sums are matrix variables, not an array that loops would index, so
// that every compiler keeps them in registers.

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
// Vectors from one inner value of a tile to the next: sixteen, and one against bank conflicts.
const STRIDE: u32 = 17u;

// [inner value][row / 4] and [inner value][column / 4]
var<workgroup> input_tile: array<vec4<f32>, 272>;
var<workgroup> weight_tile: array<vec4<f32>, 272>;

@compute @workgroup_size(16, 8)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_row = workgroup.y * 64u;
    let first_column = workgroup.x * 64u;
    // Half of the threads stage the input and half the weight, a block each; neighbours read neighbouring vectors.
    let stages_input = thread < 64u;
    let block_vector = thread % VECTORS;
    let block_four = thread % 64u / VECTORS;
    let place = block_vector * 4u * STRIDE + block_four;
    let first = select(first_column, first_row, stages_input) + 4u * block_four;
    var sums: Sums;

    // While a step is multiplied, the next one's block is on its way.
    var next = block(stages_input, first, block_vector);
    for (var depth = 0u; depth < params.inner; depth += DEPTH) {
        stage(stages_input, place, next);
        workgroupBarrier();
        next = block(stages_input, first, depth / 4u + VECTORS + block_vector);
        for (var k = 0u; k < DEPTH * STRIDE; k += STRIDE) {
            sums = multiply(sums, k + local.y, k + local.x);
        }
        workgroupBarrier();
    }

    let column = first_column / 4u + local.x;
    finish_block(sums.upper, first_row + 4u * local.y, column);
    finish_block(sums.lower, first_row + 32u + 4u * local.y, column);
}

// The 8×4 of the output that a thread owns: four rows of the tile's upper half and four of its lower.
struct Sums {
    upper: mat4x4<f32>,
    lower: mat4x4<f32>,
}

// Adds one inner value's products.
fn multiply(sums: Sums, row: u32, column: u32) -> Sums {
    let columns = weight_tile[column];
    return Sums(
        multiply_add(sums.upper, input_tile[row], columns),
        multiply_add(sums.lower, input_tile[row + 8u], columns),
    );
}

fn block(of_input: bool, first: u32, vector: u32) -> mat4x4<f32> {
    if of_input { return input_block(first, vector); }
    return weight_block(first, vector);
}

fn stage(of_input: bool, place: u32, block: mat4x4<f32>) {
    if of_input {
        input_tile[place] = block[0];
        input_tile[place + STRIDE] = block[1];
        input_tile[place + 2u * STRIDE] = block[2];
        input_tile[place + 3u * STRIDE] = block[3];
    } else {
        weight_tile[place] = block[0];
        weight_tile[place + STRIDE] = block[1];
        weight_tile[place + 2u * STRIDE] = block[2];
        weight_tile[place + 3u * STRIDE] = block[3];
    }
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

// One vector of four rows of the input each, as four inner values of these rows.
fn input_block(row: u32, vector: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        input_vector(row, vector),
        input_vector(row + 1u, vector),
        input_vector(row + 2u, vector),
        input_vector(row + 3u, vector),
    ));
}

// As input_block, of columns of the weight.
fn weight_block(column: u32, vector: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        weight_vector(column, vector),
        weight_vector(column + 1u, vector),
        weight_vector(column + 2u, vector),
        weight_vector(column + 3u, vector),
    ));
}

// Adds one inner value's products of four rows and four columns.
fn multiply_add(sums: mat4x4<f32>, rows: vec4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4(rows.x), columns, sums[0]),
        fma(vec4(rows.y), columns, sums[1]),
        fma(vec4(rows.z), columns, sums[2]),
        fma(vec4(rows.w), columns, sums[3]),
    );
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
