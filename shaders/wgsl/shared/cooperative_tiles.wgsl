// What the products on matrix units share: how operands come, and how sums go.

#include "shared/matmul_params.wgsl"

@group(0) @binding(1) var<storage, read> input: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec2<u32>>;

const THREADS: u32 = 4u * LANES;
const VECTORS: u32 = DEPTH / 4u;
// Elements from one row of a tile to the next: two vectors more, against bank conflicts.
const STRIDE: u32 = (VECTORS + 2u) * ELEMENTS;
// Vectors of each operand that a thread brings per step.
const BROUGHT: u32 = TILE * VECTORS / THREADS;
// Vectors of four values in a row of a matrix, and elements of a tile that the row takes.
const FOURS: u32 = SIDE / 4u;
const ROW: u32 = FOURS * ELEMENTS;
// Vectors of a row of sums, and elements from one such row to the next.
const SUM_FOURS: u32 = ACROSS * FOURS;
const SUM_STRIDE: u32 = (SUM_FOURS + 1u) * ELEMENTS;

alias Block = array<vec4<f16>, BROUGHT>;

// [row][inner value] and [column][inner value]
var<workgroup> input_tile: array<Halves, TILE * STRIDE>;
var<workgroup> weight_tile: array<Halves, TILE * STRIDE>;
// [subgroup][row][column]
var<workgroup> sum_tile: array<Floats, 4u * SIDE * SUM_STRIDE>;

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

// Where a thread's vector of a block goes in its tile.
fn staged(thread: u32, i: u32) -> u32 {
    let place = thread + i * THREADS;
    return place / VECTORS * STRIDE + place % VECTORS * ELEMENTS;
}

// Writes the matrices of sums that lie side by side, `column` counting vectors.
fn finish_matrices(own: u32, lane: u32, row: u32, column: u32) {
    for (var i = lane; i < SIDE * SUM_FOURS; i += LANES) {
        let sums = four_sums(own + i / SUM_FOURS * SUM_STRIDE + i % SUM_FOURS * ELEMENTS);
        finish(sums, row + i / SUM_FOURS, column + i % SUM_FOURS);
    }
}

#include "shared/finish.wgsl"

#include "shared/write_output_f16.wgsl"
