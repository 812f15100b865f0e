use clipseg_shaders::kernels::{layer_norm, softmax};
use clipseg_shaders::twins;
use clipseg_tensor::{DType, Device, KernelFamily, LayerNorm, Recorder, Tensor};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{Random, assert_close, cases, devices, has_subgroups, ragged, run};

/// Sums in other orders, an exponential or a root, and a division.
const TOLERANCE: f32 = 2e-6;

/// Rows around `mean` that range over ±1, their ends included: a row of nearly equal values would be nothing
/// but roundings.
fn rows_around(mean: f32, random: &mut Random, rows: usize, columns: usize) -> Vec<f32> {
    let mut values = random.values(rows * columns);
    for row in values.chunks_exact_mut(columns) {
        (row[0], row[columns - 1]) = (1.0, -1.0);
        row.iter_mut().for_each(|value| *value += mean);
    }
    values
}

/// Every kernel that takes the input, the engine's own choice first.
fn kernels(device: &Device, input: &Tensor, layer: &LayerNorm) -> Vec<&'static str> {
    Recorder::new(device).layer_norm_kernels(DType::F32, input, layer).expect("the shapes fit")
}

/// A layer norm to check.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    rows: usize,
    columns: usize,
    mean: f32,
    seed: u64,
}

// The subgroup kernel and the workgroup kernels on vectors serve widths of multiples of four, one of the
// latter up to 1024.
pub fn any_norm() -> impl Strategy<Value = Norm> {
    let columns = select(&[3, 7, 12, 33, 64, 68, 129, 260, 768, 1024, 1028]);
    (ragged(), columns, -3.0..3.0_f32, any::<u64>()).prop_map(|(rows, columns, mean, seed)| Norm {
        rows,
        columns,
        mean,
        seed,
    })
}

/// Checks every kernel that takes the layer norm on each of the devices.
pub fn check_norm_on(devices: &[Device], Norm { rows, columns, mean, seed }: Norm) {
    let mut random = Random(seed);
    let input = rows_around(mean, &mut random, rows, columns);
    let (weight, bias) = (random.values(columns), random.values(columns));
    let params = layer_norm::Params { rows: rows as u32, columns: columns as u32, epsilon: 1e-5 };
    let mut expected = vec![0.0; input.len()];
    twins::layer_norm(&params, &input, &weight, &bias, &mut expected);
    for device in devices {
        let layer = LayerNorm::new(device, &weight, &bias, 1e-5).expect("a layer");
        let input = device.upload(&[rows, columns], &input).expect("the input");
        for kernel in kernels(device, &input, &layer) {
            let actual = run(device, |recorder| recorder.layer_norm_by(kernel, DType::F32, &input, &layer));
            // The mean is taken away from every value, and with it its digits.
            assert_close(&actual, &expected, TOLERANCE * (1.0 + mean.abs()));
        }
    }
}

/// Checks every kernel of softmax on each of the devices.
pub fn check_softmax_on(devices: &[Device], [rows, columns]: [usize; 2], seed: u64) {
    let mut random = Random(seed);
    let mut input: Vec<_> = random.values(rows * columns).iter().map(|value| 20.0 * value).collect();
    for (row, place) in random.indices(rows, columns).into_iter().enumerate() {
        // A key that takes no part; one has to stay.
        if columns > 1 {
            input[row * columns + place as usize] = f32::NEG_INFINITY;
        }
    }
    let mut expected = vec![0.0; input.len()];
    twins::softmax(&softmax::Params { rows: rows as u32, columns: columns as u32 }, &input, &mut expected);
    for device in devices {
        let input = device.upload(&[rows, columns], &input).expect("the input");
        for kernel in Recorder::new(device).softmax_kernels() {
            let actual = run(device, |recorder| recorder.softmax_by(kernel, &input));
            assert_close(&actual, &expected, TOLERANCE);
        }
    }
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn layer_norm_equals_its_twin(case in any_norm()) {
        check_norm_on(devices(), case);
    }

    #[test]
    fn softmax_equals_its_twin((rows, columns) in (ragged(), ragged()), seed in any::<u64>()) {
        check_softmax_on(devices(), [rows, columns], seed);
    }
}

// A workgroup a row, more than fit one side of a grid.
#[test]
fn many_rows_are_folded_over_the_grid() {
    let (rows, columns) = (65_535 + 3, 3);
    let mut random = Random(1);
    let input = rows_around(0.5, &mut random, rows, columns);
    let (weight, bias) = (random.values(columns), random.values(columns));
    let mut probabilities = vec![0.0; input.len()];
    twins::softmax(
        &softmax::Params { rows: rows as u32, columns: columns as u32 },
        &input,
        &mut probabilities,
    );
    let mut normalised = vec![0.0; input.len()];
    let params = layer_norm::Params { rows: rows as u32, columns: columns as u32, epsilon: 1e-3 };
    twins::layer_norm(&params, &input, &weight, &bias, &mut normalised);
    for device in devices() {
        let uploaded = device.upload(&[rows, columns], &input).unwrap();
        for kernel in Recorder::new(device).softmax_kernels() {
            let actual = run(device, |recorder| recorder.softmax_by(kernel, &uploaded));
            assert_close(&actual, &probabilities, TOLERANCE);
        }
        let layer = LayerNorm::new(device, &weight, &bias, params.epsilon).unwrap();
        for kernel in kernels(device, &uploaded, &layer) {
            let actual =
                run(device, |recorder| recorder.layer_norm_by(kernel, DType::F32, &uploaded, &layer));
            assert_close(&actual, &normalised, TOLERANCE);
        }
    }
}

#[test]
fn each_family_takes_its_own_layer_norm_first_and_refuses_others() {
    for device in devices() {
        let layer_of =
            |columns: usize| LayerNorm::new(device, &vec![1.0; columns], &vec![0.0; columns], 1e-5).unwrap();
        let take = |rows: usize, columns: usize| {
            let input = device.upload(&[rows, columns], &vec![0.5; rows * columns]).unwrap();
            kernels(device, &input, &layer_of(columns))
        };
        let mut all = vec!["layer_norm_subgroup", "layer_norm_vec4", "layer_norm"];
        all.extend(has_subgroups(device).then_some("layer_norm_lanes"));
        let of_vectors = match (device.is_processor(), device.kernels()) {
            (true, _) => &all[2..],
            (false, KernelFamily::Subgroup) => &all[..],
            (false, _) => &all[1..],
        };
        assert_eq!([take(2, 4), take(2, 1024)], [of_vectors; 2]);
        assert_eq!([take(2, 3), take(2, 770)], [["layer_norm"]; 2]);
        if let Some(limit) = device.row_limit() {
            assert_eq!([take(limit, 4), take(limit + 1, 4)], [&all[..], &all[1..]]);
        }
        let input = device.upload(&[2, 6], &[0.5; 12]).unwrap();
        let mut recorder = Recorder::new(device);
        let refused = recorder.layer_norm_by("layer_norm_vec4", DType::F32, &input, &layer_of(6));
        let message = refused.expect_err("six columns are not whole vectors").to_string();
        assert!(message.contains("layer_norm_vec4") && message.contains("[2, 6]"), "{message}");
    }
}

#[test]
fn a_kernel_of_softmax_that_the_device_does_not_run_is_refused() {
    for device in devices() {
        let mut expected = vec!["softmax"];
        expected.extend(has_subgroups(device).then_some("softmax_lanes"));
        let mut recorder = Recorder::new(device);
        let mut kernels = recorder.softmax_kernels();
        kernels.sort_unstable();
        assert_eq!(kernels, expected);
        let input = device.upload(&[2, 6], &[0.5; 12]).unwrap();
        let message = recorder.softmax_by("layer_norm", &input).expect_err("another op's").to_string();
        assert!(message.contains("layer_norm") && message.contains("[2, 6]"), "{message}");
    }
}
