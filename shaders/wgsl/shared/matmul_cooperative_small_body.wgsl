// The form for matrix units. The lanes of a subgroup hold a cooperative matrix between them and multiply two
// of them together; operands are in f16, sums in f32. A workgroup of four subgroups makes a tile of the
// output, each subgroup a quarter of it, one matrix: the form for outputs that have too few of the larger
// tiles for all of a GPU to work. Input and weight pass through workgroup memory, so that what lies beyond an
// edge becomes zero. The sums go through it too, because only there does a lane know which value of a matrix
// it reads.

// Rows and columns of the tile, and inner values per step. A thread brings four inner values in f16
// at once.
const TILE: u32 = 2u * SIDE;
const DEPTH: u32 = 64u;
// Matrices of sums side by side in workgroup memory.
const ACROSS: u32 = 1u;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let workgroup = workgroup_id + params.first_workgroup;
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
            put_input(staged(thread, i), next_input[i]);
            put_weight(staged(thread, i), next_weight[i]);
        }
        workgroupBarrier();
        next_input = input_block(thread, first_row, depth + DEPTH);
        next_weight = weight_block(thread, first_column, depth + DEPTH);
        for (var k = 0u; k < VECTORS * ELEMENTS; k += ROW) {
            let left = coopLoadT<Left>(&input_tile[subgroup_row * STRIDE + k], STRIDE);
            let right = coopLoad<Right>(&weight_tile[subgroup_column * STRIDE + k], STRIDE);
            sum = coopMultiplyAdd(left, right, sum);
        }
        workgroupBarrier();
    }

    let own = subgroup * SIDE * SUM_STRIDE;
    coopStoreT(sum, &sum_tile[own], SUM_STRIDE);
    workgroupBarrier();
    finish_matrices(own, lane, first_row + subgroup_row, (first_column + subgroup_column) / 4u);
}

#include "shared/cooperative_tiles.wgsl"
