use clipseg_shaders::kernels::matmul_tile;
use clipseg_shaders::twins;
use clipseg_tensor::{Activation, Device, Linear, Mlp, Recorder};
use proptest::prelude::*;

use super::support::{ACTIVATIONS, Random, assert_close, cases, devices, ragged, run};

/// Two products in a row; up to 128 terms each.
const TOLERANCE: f32 = 2e-6;

/// Compares an MLP with two products of the twin. Each weight is in f16, and stored as such, if so asked.
/// What is added at the end is the input itself, as in the decoder, if so asked: one kernel then does the
/// whole of a narrow one.
fn check(
    device: &Device,
    [rows, width, hidden]: [usize; 3],
    activation: Activation,
    halves: [bool; 2],
    adds_input: bool,
    seed: u64,
) {
    let mut random = Random(seed);
    let input = random.values(rows * width);
    let [up, down] = halves.map(|halves| match halves {
        true => random.f16_values(hidden * width),
        false => random.values(hidden * width),
    });
    let (up_bias, down_bias) = (random.values(hidden), random.values(width));
    let residual = if adds_input { input.clone() } else { random.values(rows * width) };

    let layers = Mlp::new(
        Linear::new(device, hidden, width, &up, Some(&up_bias)).expect("the layer up"),
        Linear::new(device, width, hidden, &down, Some(&down_bias)).expect("the layer down"),
        activation,
    )
    .expect("layers that fit");
    let actual = run(device, |recorder| {
        let input = device.upload(&[rows, width], &input)?;
        let residual = if adds_input { input.clone() } else { device.upload(&[rows, width], &residual)? };
        recorder.mlp(&input, &layers, &residual)
    });

    let mut params = matmul_tile::Params {
        rows: rows as u32,
        columns: hidden as u32,
        inner: width as u32,
        has_bias: 1,
        has_residual: 0,
    };
    let mut between = vec![0.0; rows * hidden];
    twins::matmul(&params, activation, &input, &up, &up_bias, &[], &mut between);
    (params.columns, params.inner, params.has_residual) = (width as u32, hidden as u32, 1);
    let mut expected = vec![0.0; rows * width];
    twins::matmul(&params, Activation::None, &between, &down, &down_bias, &residual, &mut expected);
    assert_close(&actual, &expected, TOLERANCE);
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn mlp_equals_its_twin(
        (rows, hidden) in (ragged(), ragged()),
        // From 33 to 64 one kernel does the whole on software adapters.
        width in prop_oneof![33_usize..=64, ragged()],
        halves in any::<[bool; 2]>(),
        adds_input in any::<bool>(),
        seed in any::<u64>(),
    ) {
        for device in devices() {
            check(device, [rows, width, hidden], Activation::Relu, halves, adds_input, seed);
        }
    }
}

#[test]
fn every_activation_runs_between_the_layers() {
    for activation in ACTIVATIONS {
        for device in devices() {
            check(device, [19, 61, 75], activation, [false; 2], true, 1);
        }
    }
}

/// A model that overflows must not look like one that found nothing: no kernel's activation makes a number of
/// NaN.
#[test]
fn what_is_not_a_number_stays_so() {
    let (rows, width, hidden) = (26, 64, 80);
    let mut random = Random(1);
    let mut input = random.values(rows * width);
    input[25 * width + 3] = f32::NAN;
    let (up, down) = (random.values(hidden * width), random.values(width * hidden));
    for device in devices() {
        let zeros = vec![0.0; hidden];
        let up = || Linear::new(device, hidden, width, &up, Some(&zeros)).expect("the layer up");
        let down = Linear::new(device, width, hidden, &down, Some(&zeros[..width])).expect("the layer down");
        for activation in ACTIVATIONS {
            let check = |values: Vec<f32>| {
                let (numbers, last) = values.split_at(values.len() / rows * 25);
                assert!(numbers.iter().all(|value| value.is_finite()), "{activation:?} on {device:?}");
                assert!(last.iter().any(|value| value.is_nan()), "{activation:?} on {device:?}");
            };
            let upload = || device.upload(&[rows, width], &input);
            check(run(device, |recorder| recorder.activation(&upload()?, activation)));
            check(run(device, |recorder| recorder.linear_with(&upload()?, &up(), activation, None)));
        }
        // Also where it is not added to what comes out.
        let layers = Mlp::new(up(), down, Activation::Relu).expect("layers that fit");
        let residual = vec![0.0; rows * width];
        let apart = run(device, |recorder| {
            let input = device.upload(&[rows, width], &input)?;
            recorder.mlp(&input, &layers, &device.upload(&[rows, width], &residual)?)
        });
        assert!(apart[25 * width..].iter().all(|value| value.is_nan()), "{device:?}");
    }
}

/// Wherever one kernel adds its own input, that is as wide as what comes out.
#[test]
fn an_input_of_another_width_than_the_output_is_not_added() {
    for device in devices() {
        let layer = |columns, inner| {
            Linear::new(device, columns, inner, &vec![0.5; columns * inner], Some(&vec![0.0; columns]))
        };
        let (up, down) = (layer(80, 64).expect("a layer"), layer(48, 80).expect("a layer"));
        let layers = Mlp::new(up, down, Activation::Relu).expect("layers that meet");
        let input = device.upload(&[3, 64], &[1.0; 3 * 64]).expect("an input");
        assert!(Recorder::new(device).mlp(&input, &layers, &input).is_err(), "{device:?}");
    }
}

#[test]
fn layers_that_do_not_meet_are_refused() {
    for device in devices() {
        let layer = |columns, inner| Linear::new(device, columns, inner, &vec![0.0; columns * inner], None);
        let (up, down) = (layer(40, 36).expect("a layer"), layer(36, 44).expect("a layer"));
        let error = Mlp::new(up, down, Activation::Relu).err().expect("an error").to_string();
        assert!(error.contains("40 hidden values into a layer of 44 inputs"), "{error}");
    }
}
