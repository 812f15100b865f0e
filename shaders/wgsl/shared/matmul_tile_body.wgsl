// A tile in vectors, for K and N that are multiples of four: a 64×64 tile of the output per workgroup, 8×4 of
// it per thread. Operands are loaded as vectors of four values of K. Blocks of 4×4 are transposed on their
// way to workgroup memory, where a vector is then four rows, or four columns, of one K. Sums are matrix
// variables, not an array that loops would index, so that every compiler keeps them in registers.

// Rows and columns of the output that a workgroup makes.
const TILE: u32 = 64u;
// Inner values and vectors of these per step.
const DEPTH: u32 = 16u;
const VECTORS: u32 = 4u;
// Vectors from one inner value of a tile to the next: sixteen, and one against bank conflicts.
const STRIDE: u32 = 17u;

// [inner value][row / 4] and [inner value][column / 4]
var<workgroup> input_tile: array<vec4<f32>, DEPTH * STRIDE>;
var<workgroup> weight_tile: array<vec4<f32>, DEPTH * STRIDE>;

@compute @workgroup_size(16, 8)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = workgroup_id + params.first_workgroup;
    let first_row = workgroup.y * TILE;
    let first_column = workgroup.x * TILE;
    // Half of the threads stage the input and half the weight, a block each; neighbours read neighbouring
    // vectors.
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

#include "shared/blocks.wgsl"

#include "shared/finish_block.wgsl"
