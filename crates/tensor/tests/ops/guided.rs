use clipseg_shaders::kernels::{box_mean, guided_apply, guided_coefficients, guided_moments};
use clipseg_shaders::twins;
use proptest::prelude::*;

use super::support::{Random, assert_close, cases, devices, run};

/// Covariances are differences of means, and are divided by no less than epsilon.
const COEFFICIENTS: f32 = 1e-6;
/// The logit of a probability of 0.9999 is that of its distance from 1, in which roundings are ten thousand
/// times as large.
const LOGITS: f32 = 2e-4;

/// Each of `maps` maps through the twin, along rows and then along columns.
fn box_means(maps: usize, height: usize, width: usize, radius: usize, mut values: Vec<f32>) -> Vec<f32> {
    for (outer, length, inner) in [(maps * height, width, 1), (maps, height, width)] {
        let [outer, length, inner, radius] = [outer, length, inner, radius].map(|size| size as u32);
        let mut output = vec![0.0; values.len()];
        twins::box_mean(&box_mean::Params { outer, length, inner, radius }, &values, &mut output);
        values = output;
    }
    values
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn guided_coefficients_equal_their_twins(
        (height, width) in (1..=40_usize, 1..=70_usize),
        radius in 0..=20_usize,
        epsilon in 1e-3..1e-1_f32,
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let pixels = height * width;
        let guide: Vec<f32> = random.values(3 * pixels).into_iter().map(|value| value / 2.0).collect();
        let logits: Vec<f32> = random.values(pixels).into_iter().map(|value| 6.0 * value).collect();
        let mut moments = vec![0.0; 13 * pixels];
        twins::guided_moments(&guided_moments::Params { pixels: pixels as u32 }, &guide, &logits, &mut moments);
        let means = box_means(13, height, width, radius, moments);
        let mut coefficients = vec![0.0; 4 * pixels];
        let params = guided_coefficients::Params { pixels: pixels as u32, epsilon };
        twins::guided_coefficients(&params, &means, &mut coefficients);
        let expected = box_means(4, height, width, radius, coefficients);
        for device in devices() {
            let actual = run(device, |recorder| {
                let guide = device.upload(&[3, height, width], &guide)?;
                let logits = device.upload(&[height, width], &logits)?;
                recorder.guided_coefficients(&guide, &logits, radius, epsilon)
            });
            assert_close(&actual, &expected, COEFFICIENTS / epsilon);
        }
    }

    #[test]
    fn guided_apply_equals_its_twin(
        (height, width) in (1..=40_usize, 1..=70_usize),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let pixels = height * width;
        let (coefficients, guide) = (random.values(4 * pixels), random.values(3 * pixels));
        let mut expected = vec![0.0; pixels];
        let params = guided_apply::Params { pixels: pixels as u32 };
        twins::guided_apply(&params, &coefficients, &guide, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                let coefficients = device.upload(&[4, height, width], &coefficients)?;
                recorder.guided_apply(&coefficients, &device.upload(&[3, height, width], &guide)?)
            });
            assert_close(&actual, &expected, LOGITS);
        }
    }
}
