use clipseg_shaders::kernels::matmul_tile;
use clipseg_shaders::twins;
use clipseg_tensor::{Activation, Device, Linear, Recorder};
use proptest::prelude::*;

use super::support::{ACTIVATIONS, Random, assert_close, cases, devices, ragged, run};

/// The two sum in other orders; up to 768 products.
const TOLERANCE: f32 = 2e-6;

#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    columns: usize,
    inner: usize,
    activation: Activation,
    bias: bool,
    residual: bool,
    /// Whether the weights are f16 values, and stored as such.
    halves: bool,
    seed: u64,
}

fn check(device: &Device, case: Case) {
    let Case { rows, columns, inner, activation, bias, residual, halves, seed } = case;
    let mut random = Random(seed);
    let input = random.values(rows * inner);
    let weight = if halves { random.f16_values(columns * inner) } else { random.values(columns * inner) };
    let bias = bias.then(|| random.values(columns));
    let residual = residual.then(|| random.values(rows * columns));

    let layer = Linear::new(device, columns, inner, &weight, bias.as_deref()).expect("a layer");
    let actual = run(device, |recorder| {
        let input = device.upload(&[rows, inner], &input)?;
        let residual = residual.as_ref().map(|values| device.upload(&[rows, columns], values)).transpose()?;
        recorder.linear_with(&input, &layer, activation, residual.as_ref())
    });

    let params = matmul_tile::Params {
        rows: rows as u32,
        columns: columns as u32,
        inner: inner as u32,
        has_bias: bias.is_some().into(),
        has_residual: residual.is_some().into(),
    };
    let mut expected = vec![0.0; rows * columns];
    let (bias, residual) = (bias.unwrap_or_default(), residual.unwrap_or_default());
    twins::matmul(&params, activation, &input, &weight, &bias, &residual, &mut expected);
    assert_close(&actual, &expected, TOLERANCE);
}

proptest! {
    #![proptest_config(cases(16))]

    // One activation here: a software device translates the subgroup kernel anew with each.
    #[test]
    fn linear_equals_its_twin(
        (rows, columns, inner) in (ragged(), ragged(), ragged()),
        (bias, residual, halves) in any::<(bool, bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let activation = Activation::QuickGelu;
        for device in devices() {
            check(device, Case { rows, columns, inner, activation, bias, residual, halves, seed });
        }
    }
}

#[test]
fn every_activation_runs_in_the_epilogue() {
    for activation in ACTIVATIONS {
        for device in devices() {
            let (bias, residual, halves, seed) = (true, true, false, 1);
            check(
                device,
                Case { rows: 10, columns: 33, inner: 45, activation, bias, residual, halves, seed },
            );
        }
    }
}

#[test]
fn an_encoder_sized_product_equals_its_twin() {
    let (rows, columns, inner) = (197, 516, 769);
    let activation = Activation::QuickGelu;
    for (device, halves) in devices().iter().flat_map(|device| [(device, false), (device, true)]) {
        check(device, Case { rows, columns, inner, activation, bias: true, residual: true, halves, seed: 2 });
    }
}

// The input, the residual and the output have one shape, so that memory given back too early would be taken
// at once.
#[test]
fn operands_of_one_shape_do_not_share_memory() {
    for device in devices() {
        for size in [33, 64] {
            let case = Case {
                rows: size,
                columns: size,
                inner: size,
                activation: Activation::QuickGelu,
                bias: false,
                residual: true,
                halves: false,
                seed: 3,
            };
            check(device, case);
        }
    }
}

#[test]
fn more_rows_than_a_texture_is_high_go_through_a_layer_for_many_rows() {
    let (columns, inner) = (33, 3);
    let mut random = Random(4);
    let weight = random.values(columns * inner);
    for device in devices() {
        let rows = device.row_limit().unwrap_or(4096) + 1;
        let input = random.values(rows * inner);
        let uploaded = device.upload(&[rows, inner], &input).unwrap();

        let layer = Linear::for_many_rows(device, columns, inner, &weight, None).unwrap();
        let actual = run(device, |recorder| recorder.linear(&uploaded, &layer));
        let params = matmul_tile::Params {
            rows: rows as u32,
            columns: columns as u32,
            inner: inner as u32,
            ..Default::default()
        };
        let mut expected = vec![0.0; rows * columns];
        twins::matmul(&params, Activation::None, &input, &weight, &[], &[], &mut expected);
        assert_close(&actual, &expected, TOLERANCE);

        if device.row_limit().is_some() {
            let layer = Linear::new(device, columns, inner, &weight, None).unwrap();
            let refused = Recorder::new(device).linear(&uploaded, &layer);
            let message = refused.expect_err("a texture cannot be that high").to_string();
            assert!(message.contains(&rows.to_string()), "{message}");
        }
    }
}
