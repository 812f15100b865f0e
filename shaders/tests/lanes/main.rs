//! The kernels with subgroup operations at every size that subgroups may have, those of 32, 64 and 128 lanes
//! among them, which no software driver has: interpreted, and held against their twins.

mod arithmetic;
mod expressions;
mod machine;
mod matrices;
mod matrix_units;
mod subgroups;

use bytemuck::{bytes_of, cast_slice};
use clipseg_shaders::kernels::{
    attention, attention_lanes, layer_norm, layer_norm_lanes, matmul_broadcast, matmul_tile,
    matmul_tile_lanes, softmax, softmax_lanes,
};
use clipseg_shaders::{Activation, Kernel, twins};
use clipseg_testing::{Random, assert_close_at_scale};

use self::machine::Dispatch;

/// As in the tests of the ops: sums in another order, and an exponential or a root.
const TOLERANCE: f32 = 2e-6;

fn assert_close(actual: &[u32], expected: &[f32], tolerance: f32) {
    assert_close_at_scale(cast_slice(actual), expected, tolerance, 1.0);
}

fn check_product(kernel: &Kernel, [tile_rows, tile_columns]: [u32; 2], lanes: usize) {
    for ([rows, columns, inner], bias, residual) in
        [([37, 260, 140], true, false), ([3, 12, 4], false, true), ([33, 8, 68], true, true)]
    {
        let mut random = Random(u64::from(rows));
        let mut values = |rows: u32, columns: u32| random.values((rows * columns) as usize);
        let mut operands = [values(rows, inner), values(columns, inner)];
        if kernel.uses_matrix_units {
            operands.iter_mut().flatten().for_each(|value| *value = twins::half(*value));
        }
        let [input, weight] = operands;
        let params = matmul_tile::Params {
            rows,
            columns,
            inner,
            has_bias: bias.into(),
            has_residual: residual.into(),
        };
        let [bias, residual] = [values(1, columns), values(rows, columns)];
        let mut expected = vec![0.0; residual.len()];
        twins::matmul(&params, Activation::Relu, &input, &weight, &bias, &residual, &mut expected);
        let inputs = [&input, &weight, &bias, &residual].map(|values| cast_slice::<f32, u32>(values));
        let dispatch = Dispatch {
            kernel,
            params: bytes_of(&params),
            inputs: &inputs,
            output: expected.len(),
            grid: [columns.div_ceil(tile_columns), rows.div_ceil(tile_rows), 1],
            lanes,
            constants: &[("ACTIVATION", Activation::Relu as u32)],
        };
        assert_close(&dispatch.run(), &expected, TOLERANCE);
    }
}

#[test]
fn products_equal_their_twin() {
    for lanes in [4, 8, 16, 32, 64] {
        let tile = [matmul_tile_lanes::TILE_ROWS, matmul_tile_lanes::TILE_COLUMNS];
        check_product(&matmul_tile_lanes::KERNEL, tile, lanes);
        let tile = [matmul_broadcast::TILE_ROWS, matmul_broadcast::TILE_COLUMNS];
        check_product(&matmul_broadcast::KERNEL, tile, lanes);
    }
}

// Half of such a subgroup would take the other half's rows: the engine does not take it there.
#[test]
#[should_panic = "off by"]
fn a_product_in_larger_subgroups_than_it_takes_is_wrong() {
    let tile = [matmul_tile_lanes::TILE_ROWS, matmul_tile_lanes::TILE_COLUMNS];
    check_product(&matmul_tile_lanes::KERNEL, tile, 128);
}

/// With `queries` of a workgroup.
fn check_attention(kernel: &Kernel, queries: u32, lanes: usize, tolerance: f32) {
    let heads = 2;
    for (head_size, causal, cu_seqlens) in [(64, 0, &[][..]), (40, 1, &[]), (4, 1, &[0, 0, 70, 90, 91])] {
        let (images, tokens) = if cu_seqlens.is_empty() { (2, 35) } else { (1, 91) };
        let sequences = if cu_seqlens.is_empty() { images } else { cu_seqlens.len() - 1 };
        let mut random = Random(u64::from(head_size));
        let width = (heads * head_size) as usize;
        let mut values = random.values(images * tokens * 3 * width);
        values.iter_mut().for_each(|value| *value *= 3.0);
        if kernel.uses_matrix_units {
            values.iter_mut().for_each(|value| *value = twins::half(*value));
        }
        let mask = random.indices(images * tokens, 2);
        let params = attention::Params {
            tokens: tokens as u32,
            heads,
            head_size,
            causal,
            has_mask: 1,
            has_cu_seqlens: (!cu_seqlens.is_empty()).into(),
            scale: (head_size as f32).powf(-0.5),
        };
        // Rows of no sequence stay what they are.
        let used = cu_seqlens.last().map_or(images * tokens, |&end| end as usize) * width;
        let mut expected = vec![0.0; images * tokens * width];
        twins::attention(&params, &values, &mask, cu_seqlens, &mut expected);
        let dispatch = Dispatch {
            kernel,
            params: bytes_of(&params),
            inputs: &[cast_slice(&values), &mask, cu_seqlens],
            output: expected.len(),
            grid: [(tokens as u32).div_ceil(queries), heads, sequences as u32],
            lanes,
            constants: &[],
        };
        assert_close(&dispatch.run()[..used], &expected[..used], tolerance);
    }
}

#[test]
fn attention_equals_its_twin() {
    for lanes in [4, 8, 16, 32, 64, 128] {
        check_attention(&attention_lanes::KERNEL, attention_lanes::QUERIES, lanes, 1e-5);
    }
}

#[test]
fn layer_norm_equals_its_twin() {
    for lanes in [4, 8, 16, 32, 64, 128] {
        for [rows, columns] in [[9, 68], [1, 4], [4, 1028]] {
            let mut random = Random(u64::from(columns));
            let mut values = |count: u32| random.values(count as usize);
            let mut input = values(rows * columns);
            // Rows that range over ±1: one of nearly equal values would be nothing but roundings.
            input.chunks_exact_mut(columns as usize).for_each(|row| (row[0], row[1]) = (1.0, -1.0));
            let [weight, bias] = [values(columns), values(columns)];
            let params = layer_norm::Params { rows, columns, epsilon: 1e-5 };
            let mut expected = vec![0.0; input.len()];
            twins::layer_norm(&params, &input, &weight, &bias, &mut expected);
            let inputs = [&input, &weight, &bias].map(|values| cast_slice::<f32, u32>(values));
            let dispatch = Dispatch {
                kernel: &layer_norm_lanes::KERNEL,
                params: bytes_of(&params),
                inputs: &inputs,
                output: input.len(),
                // A grid that is folded.
                grid: [1, rows.div_ceil(layer_norm_lanes::ROWS), 1],
                lanes,
                constants: &[],
            };
            assert_close(&dispatch.run(), &expected, TOLERANCE);
        }
    }
}

fn check_softmax(kernel: &Kernel, [rows, columns]: [u32; 2], lanes: usize) {
    let count = (rows * columns) as usize;
    let input: Vec<_> = Random(5).values(count).iter().map(|value| 20.0 * value).collect();
    let params = softmax::Params { rows, columns };
    let mut expected = vec![0.0; count];
    twins::softmax(&params, &input, &mut expected);
    let dispatch = Dispatch {
        kernel,
        params: bytes_of(&params),
        inputs: &[cast_slice(&input)],
        output: count,
        grid: [rows.div_ceil(softmax_lanes::ROWS), 1, 1],
        lanes,
        constants: &[],
    };
    assert_close(&dispatch.run(), &expected, TOLERANCE);
}

#[test]
fn softmax_equals_its_twin() {
    for lanes in [4, 8, 16, 32, 64, 128] {
        for shape in [[9, 77], [1, 1], [5, 485]] {
            check_softmax(&softmax_lanes::KERNEL, shape, lanes);
        }
    }
}

/// A kernel with a piece of its text changed, which stands there once.
fn changed(kernel: &Kernel, piece: &str, changed: &str) -> Kernel {
    assert_eq!(kernel.source.matches(piece).count(), 1);
    Kernel { source: kernel.source.replace(piece, changed).leak(), ..*kernel }
}

/// Softmax with a line of its text changed.
fn check_changed(line: &str, by: &str) {
    check_softmax(&changed(&softmax_lanes::KERNEL, line, by), [5, 7], 32);
}

#[test]
#[should_panic = "some lanes do not come to"]
fn a_subgroup_operation_of_some_lanes_is_told() {
    check_changed("largest = subgroupMax(largest);", "if lane > 0u { largest = subgroupMax(largest); }");
}

#[test]
#[should_panic = "beyond the end"]
fn a_load_beyond_the_end_is_told() {
    check_changed("largest = max(largest, input[start + column]);", "largest = input[start + 7u * column];");
}

#[test]
#[should_panic = "off by"]
fn a_wrong_number_is_told() {
    check_changed("largest = subgroupMax(largest);", "largest = subgroupMax(largest); largest += f32(lane);");
}
