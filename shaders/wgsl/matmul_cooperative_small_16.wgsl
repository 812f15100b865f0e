// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for matrix units. The lanes of a subgroup hold a cooperative matrix between them and multiply two of them together;
// operands are in f16, sums in f32. A workgroup of four subgroups makes a tile of the output, each subgroup a quarter of it, one
// matrix: the form for outputs that have too few of the larger tiles for all of a GPU to work. Input and weight pass through workgroup memory, so that what lies beyond an edge becomes zero. The sums go
// through it too, because only there does a lane know which value of a matrix it reads.
//
// This kernel has one file per size of a matrix. They differ in SIDE, LANES and the types of the matrices.

enable f16;
enable wgpu_cooperative_matrix;

struct Params {
    rows: u32,
    columns: u32,
    inner: u32,
    has_bias: u32,
    has_residual: u32,
}

override ACTIVATION: u32 = 0u;
/// 1 where the output is to lie in f16, as the input and the weight do; else it lies in f32.
override OUTPUT_F16: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec2<u32>>;

// Rows and columns of a matrix.
const SIDE: u32 = 16u;
// Lanes of a subgroup.
const LANES: u32 = 32u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

const THREADS: u32 = 4u * LANES;
// Rows and columns of the tile, and inner values per step. Vectors hold four inner values in f16.
const TILE: u32 = 2u * SIDE;
const DEPTH: u32 = 64u;
const VECTORS: u32 = DEPTH / 4u;
// Vectors from one row of a tile to the next: two more, against bank conflicts.
const STRIDE: u32 = VECTORS + 2u;
// Vectors of each operand that a thread brings per step.
const BROUGHT: u32 = TILE * VECTORS / THREADS;
// Vectors of four sums in a row of a matrix, and from one row to the next.
const FOURS: u32 = SIDE / 4u;
const SUM_STRIDE: u32 = FOURS + 1u;

alias Block = array<vec4<f16>, BROUGHT>;

// [row][inner value / 4] and [column][inner value / 4]
var<workgroup> input_tile: array<vec4<f16>, TILE * STRIDE>;
var<workgroup> weight_tile: array<vec4<f16>, TILE * STRIDE>;
// [subgroup][row][column / 4]
var<workgroup> sum_tile: array<vec4<f32>, 4u * SIDE * SUM_STRIDE>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first_row = workgroup.y * TILE;
    let first_column = workgroup.x * TILE;
    let subgroup_row = subgroup / 2u * SIDE;
    let subgroup_column = subgroup % 2u * SIDE;
    var sum = Sum();

    // While a step is multiplied, the next one's vectors are on their way.
    var next_input = input_block(thread, first_row, 0u);
    var next_weight = weight_block(thread, first_column, 0u);
    for (var depth = 0u; depth < params.inner; depth += DEPTH) {
        for (var i = 0u; i < BROUGHT; i++) {
            let place = thread + i * THREADS;
            let staged = place / VECTORS * STRIDE + place % VECTORS;
            input_tile[staged] = next_input[i];
            weight_tile[staged] = next_weight[i];
        }
        workgroupBarrier();
        next_input = input_block(thread, first_row, depth + DEPTH);
        next_weight = weight_block(thread, first_column, depth + DEPTH);
        for (var k = 0u; k < VECTORS; k += FOURS) {
            let left = coopLoadT<Left>(&input_tile[subgroup_row * STRIDE + k], STRIDE);
            let right = coopLoad<Right>(&weight_tile[subgroup_column * STRIDE + k], STRIDE);
            sum = coopMultiplyAdd(left, right, sum);
        }
        workgroupBarrier();
    }

    let own = subgroup * SIDE * SUM_STRIDE;
    coopStoreT(sum, &sum_tile[own], SUM_STRIDE);
    workgroupBarrier();
    finish_matrix(own, lane, first_row + subgroup_row, (first_column + subgroup_column) / 4u);
}

// The vectors of the input that a thread brings for a step, zeros beyond either edge.
fn input_block(thread: u32, first_row: u32, depth: u32) -> Block {
    let vectors = params.inner / 4u;
    var block: Block;
    for (var i = 0u; i < BROUGHT; i++) {
        let place = thread + i * THREADS;
        let row = first_row + place / VECTORS;
        let vector = depth / 4u + place % VECTORS;
        block[i] = vec4<f16>();
        if row < params.rows && vector < vectors { block[i] = input[row * vectors + vector]; }
    }
    return block;
}

// As input_block, of columns of the weight.
fn weight_block(thread: u32, first_column: u32, depth: u32) -> Block {
    let vectors = params.inner / 4u;
    var block: Block;
    for (var i = 0u; i < BROUGHT; i++) {
        let place = thread + i * THREADS;
        let column = first_column + place / VECTORS;
        let vector = depth / 4u + place % VECTORS;
        block[i] = vec4<f16>();
        if column < params.columns && vector < vectors { block[i] = weight[column * vectors + vector]; }
    }
    return block;
}

// Writes a matrix of sums, `column` counting vectors.
fn finish_matrix(own: u32, lane: u32, row: u32, column: u32) {
    for (var i = lane; i < SIDE * FOURS; i += LANES) {
        finish(sum_tile[own + i / FOURS * SUM_STRIDE + i % FOURS], row + i / FOURS, column + i % FOURS);
    }
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
