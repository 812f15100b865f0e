//! The kernels on matrix units in the subgroups that hold a matrix between them, of which no driver here has
//! those of 32 lanes.

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{
    attention_cooperative_8, attention_cooperative_8_lanes_32, attention_cooperative_16,
    matmul_cooperative_8, matmul_cooperative_8_lanes_32, matmul_cooperative_16, matmul_cooperative_small_8,
    matmul_cooperative_small_8_lanes_32, matmul_cooperative_small_16,
};

use super::{changed, check_attention, check_product};

/// Probabilities are rounded to f16, which has eleven digits, and weigh values of up to 3.
const ATTENTION_TOLERANCE: f32 = 3.0 / 2048.0;

#[test]
fn products_equal_their_twin() {
    for (kernel, tile, lanes) in [
        (&matmul_cooperative_8::KERNEL, matmul_cooperative_8::TILE, 8),
        (&matmul_cooperative_small_8::KERNEL, matmul_cooperative_small_8::TILE, 8),
        (&matmul_cooperative_8_lanes_32::KERNEL, matmul_cooperative_8_lanes_32::TILE, 32),
        (&matmul_cooperative_small_8_lanes_32::KERNEL, matmul_cooperative_small_8_lanes_32::TILE, 32),
        (&matmul_cooperative_16::KERNEL, matmul_cooperative_16::TILE, 32),
        (&matmul_cooperative_small_16::KERNEL, matmul_cooperative_small_16::TILE, 32),
    ] {
        check_product(kernel, [tile; 2], lanes);
    }
}

#[test]
fn attention_equals_its_twin() {
    for (kernel, queries, lanes) in [
        (&attention_cooperative_8::KERNEL, attention_cooperative_8::QUERIES, 8),
        (&attention_cooperative_8_lanes_32::KERNEL, attention_cooperative_8_lanes_32::QUERIES, 32),
        (&attention_cooperative_16::KERNEL, attention_cooperative_16::QUERIES, 32),
    ] {
        check_attention(kernel, queries, lanes, ATTENTION_TOLERANCE);
    }
}

// All of its threads would be one subgroup, which does a quarter of the work.
#[test]
#[should_panic = "off by"]
fn a_product_for_other_subgroups_is_wrong() {
    check_product(&matmul_cooperative_8::KERNEL, [matmul_cooperative_8::TILE; 2], 32);
}

/// The product for 32 lanes with a piece of its text changed.
fn check_changed(piece: &str, by: &str) {
    let kernel: Kernel = changed(&matmul_cooperative_small_8_lanes_32::KERNEL, piece, by);
    check_product(&kernel, [matmul_cooperative_small_8_lanes_32::TILE; 2], 32);
}

#[test]
#[should_panic = "off by"]
fn a_matrix_that_is_read_by_rows_in_place_of_columns_is_told() {
    check_changed("let left = coopLoad<Right>", "let left = coopLoadT<Right>");
}

// As it would be in a tile of vectors.
#[test]
#[should_panic = "off by"]
fn a_stride_that_counts_other_elements_is_told() {
    check_changed(
        "&input_tile[subgroup_row * STRIDE + k], STRIDE)",
        "&input_tile[subgroup_row * STRIDE + k], STRIDE / 4u)",
    );
}

#[test]
#[should_panic = "name different matrices"]
fn lanes_that_do_not_mean_the_same_matrix_are_told() {
    check_changed(
        "&input_tile[subgroup_row * STRIDE + k], STRIDE)",
        "&input_tile[subgroup_row * STRIDE + k + lane], STRIDE)",
    );
}

#[test]
#[should_panic = "beyond the end"]
fn a_matrix_beyond_the_end_is_told() {
    check_changed(
        "&weight_tile[(subgroup_column + SIDE) * STRIDE + k], STRIDE)",
        "&weight_tile[(subgroup_column + SIDE) * STRIDE + k], 8u * STRIDE)",
    );
}
