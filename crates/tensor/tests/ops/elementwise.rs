use clipseg_shaders::kernels::{activation, film, sigmoid};
use clipseg_shaders::twins;
use clipseg_tensor::Modulation;
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{ACTIVATIONS, Random, assert_close, cases, devices, ragged, run};

/// One function of one value: the kernels' error function is good to 1.5e-7, an exponential to a few units in
/// the last place.
const TOLERANCE: f32 = 1e-6;

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn activation_equals_its_twin(
        (rows, columns) in (ragged(), ragged()),
        activation in select(&ACTIVATIONS),
        seed in any::<u64>(),
    ) {
        let input: Vec<_> = Random(seed).values(rows * columns).iter().map(|value| 8.0 * value).collect();
        let mut expected = vec![0.0; input.len()];
        let params = activation::Params { length: input.len() as u32 };
        twins::activation(&params, activation, &input, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                recorder.activation(&device.upload(&[rows, columns], &input)?, activation)
            });
            assert_close(&actual, &expected, TOLERANCE);
        }
    }

    #[test]
    fn sigmoid_equals_its_twin((rows, columns) in (ragged(), ragged()), seed in any::<u64>()) {
        let input: Vec<_> = Random(seed).values(rows * columns).iter().map(|value| 20.0 * value).collect();
        let mut expected = vec![0.0; input.len()];
        twins::sigmoid(&sigmoid::Params { length: input.len() as u32 }, &input, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| recorder.sigmoid(&device.upload(&[rows, columns], &input)?));
            assert_close(&actual, &expected, TOLERANCE);
        }
    }

    #[test]
    fn film_equals_its_twin(
        pairs in 1..=4_usize,
        (tokens, columns) in (ragged(), ragged()),
        (shared, has_previous, conditioned) in any::<(bool, bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let scenes = if shared { 1 } else { pairs };
        let mut random = Random(seed);
        let reduced = random.values(scenes * tokens * columns);
        let previous = random.values(pairs * tokens * columns);
        let (gamma, beta) = (random.values(pairs * columns), random.values(pairs * columns));
        let params = film::Params {
            pairs: pairs as u32,
            scenes: scenes as u32,
            tokens: tokens as u32,
            columns: columns as u32,
            has_previous: has_previous.into(),
            conditioned: conditioned.into(),
        };
        let mut expected = vec![0.0; previous.len()];
        twins::film(&params, &reduced, &previous, &gamma, &beta, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                let reduced = device.upload(&[scenes, tokens, columns], &reduced)?;
                let previous = device.upload(&[pairs, tokens, columns], &previous)?;
                let gamma = &device.upload(&[pairs, columns], &gamma)?;
                let beta = &device.upload(&[pairs, columns], &beta)?;
                let modulation = conditioned.then_some(Modulation { gamma, beta });
                recorder.film(pairs, &reduced, has_previous.then_some(&previous), modulation)
            });
            assert_close(&actual, &expected, TOLERANCE);
        }
    }
}

// Where exponentials overflow and underflow.
#[test]
fn saturated_values_stay_finite() {
    let input: Vec<f32> =
        [0.0, 1e-30, 10.0, 50.0, 88.0, 89.0, 104.0, 1000.0, 1e6].into_iter().flat_map(|x| [x, -x]).collect();
    let length = input.len() as u32;
    for device in devices() {
        for activation in ACTIVATIONS {
            let mut expected = vec![0.0; input.len()];
            twins::activation(&activation::Params { length }, activation, &input, &mut expected);
            let actual = run(device, |recorder| {
                recorder.activation(&device.upload(&[input.len()], &input)?, activation)
            });
            assert_close(&actual, &expected, TOLERANCE);
        }
        let mut expected = vec![0.0; input.len()];
        twins::sigmoid(&sigmoid::Params { length }, &input, &mut expected);
        let actual = run(device, |recorder| recorder.sigmoid(&device.upload(&[input.len()], &input)?));
        assert_close(&actual, &expected, TOLERANCE);
    }
}

// More workgroups than fit one side of a grid.
#[test]
fn long_tensors_are_folded_over_the_grid() {
    let length = 65_535 * 64 + 77;
    let input = Random(1).values(length);
    let mut expected = vec![0.0; length];
    twins::sigmoid(&sigmoid::Params { length: length as u32 }, &input, &mut expected);
    for device in devices() {
        let actual = run(device, |recorder| recorder.sigmoid(&device.upload(&[length], &input)?));
        assert_close(&actual, &expected, TOLERANCE);
    }
}
