//! Every kernel of the product on buffers against the CPU twin, on the shapes that it takes.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use clipseg_shaders::kernels::{ALL, matmul_tile};
use clipseg_shaders::{BindingKind, twins};
use clipseg_tensor::{Activation, DType, Device, DeviceOptions, KernelFamily, Linear, Precision, Recorder};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{ACTIVATIONS, Random, assert_close, cases, run};

/// The two sum in other orders; up to 772 products.
const TOLERANCE: f32 = 2e-6;

/// Every form of the product on buffers but those for matrix units.
fn kernels() -> impl Iterator<Item = &'static str> {
    let products = ALL.iter().filter(|kernel| {
        let on_buffers = kernel.bindings.iter().all(|binding| {
            matches!(
                binding.kind,
                BindingKind::Uniform | BindingKind::StorageRead | BindingKind::StorageReadWrite
            )
        });
        kernel.name.starts_with("matmul_") && on_buffers && !kernel.uses_matrix_units
    });
    products.map(|kernel| kernel.name)
}

#[derive(Clone, Copy, Debug)]
pub struct Case {
    rows: usize,
    columns: usize,
    inner: usize,
    activation: Activation,
    bias: bool,
    residual: bool,
    seed: u64,
}

/// The workgroup kernels with weights in full, and in f16. Opened here, so that these tests run whatever the
/// subgroups' size.
fn precisions() -> &'static [Device; 2] {
    static DEVICES: OnceLock<[Device; 2]> = OnceLock::new();
    DEVICES.get_or_init(|| {
        [Precision::F32, Precision::F16].map(|precision| {
            let options = DeviceOptions {
                kernels: KernelFamily::Workgroup,
                runtime_checks: true,
                precision,
                ..DeviceOptions::default()
            };
            Device::open(&options).expect("these tests need an adapter")
        })
    })
}

/// Checks every kernel that takes the case, and says which these were.
pub fn check(case: Case) -> Vec<&'static str> {
    let Case { rows, columns, inner, activation, bias, residual, seed } = case;
    let mut random = Random(seed);
    let input = random.values(rows * inner);
    let weight = random.f16_values(columns * inner);
    let bias = bias.then(|| random.values(columns));
    let residual = residual.then(|| random.values(rows * columns));
    let params = matmul_tile::Params {
        rows: rows as u32,
        columns: columns as u32,
        inner: inner as u32,
        has_bias: bias.is_some().into(),
        has_residual: residual.is_some().into(),
    };
    let mut expected = vec![0.0; rows * columns];
    let no_values: &[f32] = &[];
    let [bias_values, residual_values] =
        [&bias, &residual].map(|values| values.as_deref().unwrap_or(no_values));
    twins::matmul(&params, activation, &input, &weight, bias_values, residual_values, &mut expected);

    let mut checked = Vec::new();
    for device in precisions() {
        let layer = Linear::new(device, columns, inner, &weight, bias.as_deref()).expect("a layer");
        let input = device.upload(&[rows, inner], &input).expect("the input");
        let residual =
            residual.as_ref().map(|values| device.upload(&[rows, columns], values).expect("the residual"));
        for kernel in Recorder::new(device).linear_kernels(DType::F32, &input, &layer) {
            let actual = run(device, |recorder| {
                recorder.linear_by(kernel, DType::F32, &input, &layer, activation, residual.as_ref())
            });
            assert_close(&actual, &expected, TOLERANCE);
            checked.push(kernel);
        }
    }
    checked
}

pub fn any_case() -> impl Strategy<Value = Case> {
    (
        select(&[1_usize, 2, 5, 8, 13, 16, 17, 63, 65, 130][..]),
        select(&[1_usize, 4, 6, 12, 60, 68, 132, 260][..]),
        select(&[1_usize, 4, 7, 8, 20, 36, 68, 132, 260][..]),
        any::<(bool, bool)>(),
        any::<u64>(),
    )
        .prop_map(|(rows, columns, inner, (bias, residual), seed)| Case {
            rows,
            columns,
            inner,
            activation: Activation::QuickGelu,
            bias,
            residual,
            seed,
        })
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn every_kernel_equals_the_twin_on_ragged_shapes(case in any_case()) {
        check(case);
    }
}

#[test]
fn every_activation_runs_in_every_epilogue() {
    assert!(kernels().count() >= 8);
    for activation in ACTIVATIONS {
        let case = Case { rows: 9, columns: 36, inner: 44, activation, bias: true, residual: true, seed: 1 };
        let checked: BTreeSet<_> = check(case).into_iter().collect();
        // Not every adapter has subgroups.
        let needs_subgroups =
            |name: &str| ALL.iter().any(|kernel| kernel.name == name && kernel.uses_subgroups);
        let expected = |name: &&str| checked.contains(name) || !needs_subgroups(name);
        assert_eq!(checked, kernels().filter(expected).collect());
        if precisions()[0].info().driver == "llvmpipe" {
            assert!(
                checked.contains("matmul_tile_lanes") && checked.contains("matmul_tile_lanes_packed_f16")
            );
        }
    }
}

#[test]
fn an_encoder_sized_product_equals_the_twin() {
    let case = Case {
        rows: 197,
        columns: 516,
        inner: 772,
        activation: Activation::QuickGelu,
        bias: true,
        residual: true,
        seed: 2,
    };
    assert!(check(case).len() >= 4);
}

#[test]
fn weights_that_halves_cannot_hold_stay_whole() {
    let [_, device] = precisions();
    let mut weight = vec![0.0; 16];
    weight[5] = 70_000.0;
    let layer = Linear::new(device, 4, 4, &weight, None).unwrap();
    let input = device.upload(&[1, 4], &[1.0; 4]).unwrap();
    assert_eq!(run(device, |recorder| recorder.linear(&input, &layer)), [0.0, 70_000.0, 0.0, 0.0]);
}

#[test]
fn a_kernel_that_does_not_take_the_shape_is_refused() {
    let [device, _] = precisions();
    let layer = Linear::new(device, 6, 5, &[0.0; 30], None).unwrap();
    let mut recorder = Recorder::new(device);
    let input = recorder.input(&[3, 5]).unwrap();
    assert_eq!(recorder.linear_kernels(DType::F32, &input, &layer), ["matmul_tile"]);
    let refused = recorder.linear_by("matmul_tile_vec4", DType::F32, &input, &layer, Activation::None, None);
    let message = refused.expect_err("six columns are not whole vectors").to_string();
    assert!(message.contains("matmul_tile_vec4") && message.contains("[3, 5]"), "{message}");
}
