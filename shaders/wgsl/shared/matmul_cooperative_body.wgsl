// The form for matrix units. The lanes of a subgroup hold a cooperative matrix between them and multiply two
// of them together; operands are in f16, sums in f32. A workgroup of four subgroups makes a tile of the
// output, each subgroup a quarter of it as 2×2 matrices. Input and weight pass through workgroup memory, so
// that what lies beyond an edge becomes zero. The sums go through it too, because only there does a lane know
// which value of a matrix it reads.

// Rows and columns of the tile, and inner values per step. A thread brings four inner values in f16
// at once.
const TILE: u32 = 4u * SIDE;
const DEPTH: u32 = 32u;
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
    let subgroup_row = subgroup / 2u * 2u * SIDE;
    let subgroup_column = subgroup % 2u * 2u * SIDE;
    var upper_left = Sum();
    var upper_right = Sum();
    var lower_left = Sum();
    var lower_right = Sum();

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
            let upper = coopLoadT<Left>(&input_tile[subgroup_row * STRIDE + k], STRIDE);
            let lower = coopLoadT<Left>(&input_tile[(subgroup_row + SIDE) * STRIDE + k], STRIDE);
            let left = coopLoad<Right>(&weight_tile[subgroup_column * STRIDE + k], STRIDE);
            let right = coopLoad<Right>(&weight_tile[(subgroup_column + SIDE) * STRIDE + k], STRIDE);
            upper_left = coopMultiplyAdd(upper, left, upper_left);
            upper_right = coopMultiplyAdd(upper, right, upper_right);
            lower_left = coopMultiplyAdd(lower, left, lower_left);
            lower_right = coopMultiplyAdd(lower, right, lower_right);
        }
        workgroupBarrier();
    }

    let row = first_row + subgroup_row;
    let column = (first_column + subgroup_column) / 4u;
    let own = subgroup * SIDE * SUM_STRIDE;
    coopStoreT(upper_left, &sum_tile[own], SUM_STRIDE);
    workgroupBarrier();
    finish_matrices(own, lane, row, column);
    workgroupBarrier();
    coopStoreT(upper_right, &sum_tile[own], SUM_STRIDE);
    workgroupBarrier();
    finish_matrices(own, lane, row, column + FOURS);
    workgroupBarrier();
    coopStoreT(lower_left, &sum_tile[own], SUM_STRIDE);
    workgroupBarrier();
    finish_matrices(own, lane, row + SIDE, column);
    workgroupBarrier();
    coopStoreT(lower_right, &sum_tile[own], SUM_STRIDE);
    workgroupBarrier();
    finish_matrices(own, lane, row + SIDE, column + FOURS);
}

#include "shared/cooperative_tiles.wgsl"
