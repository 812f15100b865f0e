// The form for matrix units that multiply small matrices, which a subgroup has to multiply many of for each
// that it loads. The lanes of a subgroup hold a cooperative matrix between them and multiply two of them
// together; operands are in f16, sums in f32. A workgroup of four subgroups makes a tile of the output, each
// subgroup a quarter of it as 4×4 matrices. These have names, since an array of them would not stay in
// registers. Input and weight pass through workgroup memory, so that what lies beyond an edge becomes zero.
// The sums go through it too, four matrices at a time, because only there does a lane know which value of a
// matrix it reads.

// Rows and columns of the tile, and inner values per step. A thread brings four inner values in f16 at once.
const TILE: u32 = 8u * SIDE;
const DEPTH: u32 = 32u;
// Matrices of sums side by side in workgroup memory.
const ACROSS: u32 = 4u;

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
    let subgroup_row = subgroup / 2u * 4u * SIDE;
    let subgroup_column = subgroup % 2u * 4u * SIDE;
    var sum_00 = Sum();
    var sum_01 = Sum();
    var sum_02 = Sum();
    var sum_03 = Sum();
    var sum_10 = Sum();
    var sum_11 = Sum();
    var sum_12 = Sum();
    var sum_13 = Sum();
    var sum_20 = Sum();
    var sum_21 = Sum();
    var sum_22 = Sum();
    var sum_23 = Sum();
    var sum_30 = Sum();
    var sum_31 = Sum();
    var sum_32 = Sum();
    var sum_33 = Sum();

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
            let rows = subgroup_row * STRIDE + k;
            let columns = subgroup_column * STRIDE + k;
            let left_0 = coopLoadT<Left>(&input_tile[rows], STRIDE);
            let left_1 = coopLoadT<Left>(&input_tile[rows + SIDE * STRIDE], STRIDE);
            let left_2 = coopLoadT<Left>(&input_tile[rows + 2u * SIDE * STRIDE], STRIDE);
            let left_3 = coopLoadT<Left>(&input_tile[rows + 3u * SIDE * STRIDE], STRIDE);
            let right_0 = coopLoad<Right>(&weight_tile[columns], STRIDE);
            let right_1 = coopLoad<Right>(&weight_tile[columns + SIDE * STRIDE], STRIDE);
            let right_2 = coopLoad<Right>(&weight_tile[columns + 2u * SIDE * STRIDE], STRIDE);
            let right_3 = coopLoad<Right>(&weight_tile[columns + 3u * SIDE * STRIDE], STRIDE);
            sum_00 = coopMultiplyAdd(left_0, right_0, sum_00);
            sum_01 = coopMultiplyAdd(left_0, right_1, sum_01);
            sum_02 = coopMultiplyAdd(left_0, right_2, sum_02);
            sum_03 = coopMultiplyAdd(left_0, right_3, sum_03);
            sum_10 = coopMultiplyAdd(left_1, right_0, sum_10);
            sum_11 = coopMultiplyAdd(left_1, right_1, sum_11);
            sum_12 = coopMultiplyAdd(left_1, right_2, sum_12);
            sum_13 = coopMultiplyAdd(left_1, right_3, sum_13);
            sum_20 = coopMultiplyAdd(left_2, right_0, sum_20);
            sum_21 = coopMultiplyAdd(left_2, right_1, sum_21);
            sum_22 = coopMultiplyAdd(left_2, right_2, sum_22);
            sum_23 = coopMultiplyAdd(left_2, right_3, sum_23);
            sum_30 = coopMultiplyAdd(left_3, right_0, sum_30);
            sum_31 = coopMultiplyAdd(left_3, right_1, sum_31);
            sum_32 = coopMultiplyAdd(left_3, right_2, sum_32);
            sum_33 = coopMultiplyAdd(left_3, right_3, sum_33);
        }
        workgroupBarrier();
    }

    let row = first_row + subgroup_row;
    let column = (first_column + subgroup_column) / 4u;
    // A subgroup meets its own sums alone.
    let own = subgroup * SIDE * SUM_STRIDE;
    coopStoreT(sum_00, &sum_tile[own], SUM_STRIDE);
    coopStoreT(sum_01, &sum_tile[own + ROW], SUM_STRIDE);
    coopStoreT(sum_02, &sum_tile[own + 2u * ROW], SUM_STRIDE);
    coopStoreT(sum_03, &sum_tile[own + 3u * ROW], SUM_STRIDE);
    subgroupBarrier();
    finish_matrices(own, lane, row, column);
    subgroupBarrier();
    coopStoreT(sum_10, &sum_tile[own], SUM_STRIDE);
    coopStoreT(sum_11, &sum_tile[own + ROW], SUM_STRIDE);
    coopStoreT(sum_12, &sum_tile[own + 2u * ROW], SUM_STRIDE);
    coopStoreT(sum_13, &sum_tile[own + 3u * ROW], SUM_STRIDE);
    subgroupBarrier();
    finish_matrices(own, lane, row + SIDE, column);
    subgroupBarrier();
    coopStoreT(sum_20, &sum_tile[own], SUM_STRIDE);
    coopStoreT(sum_21, &sum_tile[own + ROW], SUM_STRIDE);
    coopStoreT(sum_22, &sum_tile[own + 2u * ROW], SUM_STRIDE);
    coopStoreT(sum_23, &sum_tile[own + 3u * ROW], SUM_STRIDE);
    subgroupBarrier();
    finish_matrices(own, lane, row + 2u * SIDE, column);
    subgroupBarrier();
    coopStoreT(sum_30, &sum_tile[own], SUM_STRIDE);
    coopStoreT(sum_31, &sum_tile[own + ROW], SUM_STRIDE);
    coopStoreT(sum_32, &sum_tile[own + 2u * ROW], SUM_STRIDE);
    coopStoreT(sum_33, &sum_tile[own + 3u * ROW], SUM_STRIDE);
    subgroupBarrier();
    finish_matrices(own, lane, row + 3u * SIDE, column);
}

#include "shared/cooperative_tiles.wgsl"
