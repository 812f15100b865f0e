//! Autotuning: measures which variant of a product is the fastest on the device.

use std::time::{Duration, Instant};

use super::{Operands, Problem, Variant};
use crate::tensor::DType;
use crate::{Device, Plan, Recorder, Result, Tensor};

/// Products of more rows are taken to run like those of this many.
const MOST_ROWS: usize = 4096;
/// What a plan to be timed should take at least, so that its submit does not count.
const LEAST_SECONDS: f64 = 2e-3;
/// The most products in such a plan.
const MOST_PRODUCTS: f64 = 32.0;
/// A plan is run this often, or until so much time has passed; its best run counts.
const RUNS: usize = 10;
const ENOUGH: Duration = Duration::from_millis(50);
/// How far a number may be from the reference's, as a share of the largest: sums in another order are much closer, and a
/// wrong number is not.
const TOLERANCE: f32 = 1e-4;
/// As much more for f16 values, of which the smallest difference in the sums may give the next.
const F16_STEP: f32 = 1.0 / 1024.0;

/// The problem whose measurement speaks for `problem`: of rows up to a power of two.
pub(super) fn representative(problem: &Problem) -> Problem {
    Problem { rows: problem.rows.next_power_of_two().min(MOST_ROWS), ..*problem }
}

/// How a problem is called in the tuner's file.
pub(super) fn title(problem: &Problem) -> String {
    let Problem { rows, columns, inner, weight, input, output, activation, has_bias, has_residual } = problem;
    let bias = if *has_bias { " bias" } else { "" };
    let residual = if *has_residual { " residual" } else { "" };
    let from = if *input == DType::F16 { " from f16" } else { "" };
    let to = if *output == DType::F16 { " to f16" } else { "" };
    format!("matmul {rows}x{columns}x{inner} {weight:?}{bias} {activation:?}{residual}{from}{to}")
}

/// The place of the fastest of `candidates` whose numbers equal the reference's, which has to be among them. The layer's own
/// weight is multiplied with random inputs.
pub(super) fn fastest(
    device: &Device,
    problem: &Problem,
    operands: &Operands<'_>,
    candidates: &[&Variant],
) -> Result<usize> {
    let Problem { rows, columns, inner, .. } = *problem;
    let input = noise_as(problem.input, device, [rows, inner])?;
    let tolerance = if problem.output == DType::F16 { TOLERANCE + F16_STEP } else { TOLERANCE };
    let residual = match operands.residual {
        Some(_) => Some(device.upload(&[rows, columns], &noise(rows * columns))?),
        None => None,
    };
    let operands = Operands { input: &input, residual: residual.as_ref(), ..*operands };
    let shape = [rows, columns];

    let reference = Variant::reference(problem);
    let (plan, output) = record(device, reference, &operands, &shape, 1)?;
    let expected = read(&plan, &output)?;
    let products = (LEAST_SECONDS / time(device, &plan)?).clamp(1.0, MOST_PRODUCTS) as usize;
    let mut best: Option<(usize, f64)> = None;
    for (place, variant) in candidates.iter().enumerate() {
        let measured = record(device, variant, &operands, &shape, products).and_then(|(plan, output)| {
            let is_right = agree(&read(&plan, &output)?, &expected, tolerance);
            Ok((is_right || variant.kernel == reference.kernel).then_some(time(device, &plan)?))
        });
        let name = variant.kernel.name;
        match measured {
            Ok(Some(seconds)) => {
                log::debug!("{}: {name} takes {:.3e} s", title(problem), seconds / products as f64);
                if best.is_none_or(|(_, least)| seconds < least) {
                    best = Some((place, seconds));
                }
            }
            Ok(None) => log::warn!("{}: {name} gives wrong numbers on this adapter", title(problem)),
            Err(error) => log::warn!("{}: {name}: {error}", title(problem)),
        }
    }
    best.map(|(place, _)| place)
        .ok_or_else(|| crate::Error::Device(format!("{}: no kernel runs", title(problem))))
}

/// The product `products` times over; the output is the last one's.
fn record(
    device: &Device,
    variant: &Variant,
    operands: &Operands<'_>,
    shape: &[usize],
    products: usize,
) -> Result<(Plan, Tensor)> {
    let mut recorder = Recorder::new(device);
    let mut output = recorder.matmul_with(variant, operands, shape)?;
    for _ in 1..products {
        output = recorder.matmul_with(variant, operands, shape)?;
    }
    let output = recorder.output(&output)?;
    Ok((recorder.finish()?, output))
}

fn read(plan: &Plan, output: &Tensor) -> Result<Vec<f32>> {
    let arrays = crate::block_on(plan.run().finish(&[output]))?;
    Ok(arrays.into_iter().flat_map(|array| array.values).collect())
}

/// Seconds of the best run.
fn time(device: &Device, plan: &Plan) -> Result<f64> {
    let start = Instant::now();
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let begin = Instant::now();
        plan.run().submit()?;
        device.wait()?;
        least = least.min(begin.elapsed().as_secs_f64());
        if start.elapsed() > ENOUGH {
            break;
        }
    }
    Ok(least)
}

/// Whether all values are within `tolerance` of those expected, as a share of the largest; a NaN is not.
fn agree(actual: &[f32], expected: &[f32], tolerance: f32) -> bool {
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    actual.len() == expected.len()
        && actual.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance * largest)
}

/// Values between -1 and 1 that look random: the upper bits of a linear congruential generator (Knuth's MMIX).
fn noise(length: usize) -> Vec<f32> {
    let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    let states = std::iter::successors(Some(1_u64), step).skip(1);
    states.map(|state| (state >> 40) as f32 / (1 << 23) as f32 - 1.0).take(length).collect()
}

/// [`noise`] on the device, stored as `dtype`.
fn noise_as(dtype: DType, device: &Device, shape: [usize; 2]) -> Result<Tensor> {
    let values = noise(shape.iter().product());
    match dtype {
        DType::F16 => device.upload_f16(&shape, &values),
        _ => device.upload(&shape, &values),
    }
}

#[cfg(test)]
mod tests {
    use clipseg_shaders::Activation;

    use super::super::{BROADCAST, FALLBACK, PACKED_F16, RowWeight, SKINNY_PACKED_F16, VEC4};
    use super::*;
    use crate::{DeviceOptions, KernelFamily, Precision};

    /// With the input and the output as `dtype`.
    fn fastest_of(candidates: &[&Variant], precision: Precision, dtype: DType) -> Result<usize> {
        let options =
            DeviceOptions { kernels: KernelFamily::Workgroup, precision, ..DeviceOptions::default() };
        let device = Device::open(&options).expect("this test needs an adapter");
        let weight = RowWeight::upload(&device, 8, 12, &noise(96)).unwrap();
        let input = noise_as(dtype, &device, [256, 12]).unwrap();
        let residual = device.upload(&[256, 8], &noise(256 * 8)).unwrap();
        let operands = Operands {
            input: &input,
            weight: &weight,
            bias: None,
            residual: Some(&residual),
            activation: Activation::Relu,
            output: dtype,
        };
        fastest(&device, &operands.problem(), &operands, candidates)
    }

    /// Writes a quarter of the rows, and is the faster for it.
    static WRONG: Variant = Variant { tile: [256, 256], ..VEC4 };

    #[test]
    fn a_variant_with_wrong_numbers_is_rejected() {
        assert_eq!(fastest_of(&[&WRONG, &FALLBACK, &WRONG], Precision::F32, DType::F32).unwrap(), 1);
    }

    #[test]
    fn right_ones_are_timed() {
        let place = fastest_of(&[&VEC4, &FALLBACK, &BROADCAST], Precision::F32, DType::F32).unwrap();
        assert!(place < 3);
        // Those that read f16 values have a reference of their own; a number of another would be wrong.
        let wrong = Variant { tile: WRONG.tile, ..SKINNY_PACKED_F16 };
        for dtype in [DType::F32, DType::F16] {
            assert!(
                fastest_of(&[&wrong, &PACKED_F16, &SKINNY_PACKED_F16], Precision::F16, dtype).unwrap() > 0
            );
        }
    }

    #[test]
    fn numbers_that_are_far_off_or_missing_do_not_agree() {
        assert!(agree(&[1.0, -2.00001], &[1.0, -2.0], TOLERANCE));
        assert!(!agree(&[1.0, -2.001], &[1.0, -2.0], TOLERANCE));
        assert!(!agree(&[f32::NAN, -2.0], &[1.0, -2.0], TOLERANCE));
        assert!(!agree(&[1.0], &[1.0, -2.0], TOLERANCE));
    }

    #[test]
    fn noise_is_spread_between_minus_one_and_one() {
        let values = noise(1000);
        let mean = values.iter().sum::<f32>() / 1000.0;
        assert!(values.iter().all(|value| value.abs() <= 1.0) && mean.abs() < 0.1, "{mean}");
        assert!(values.iter().any(|value| *value > 0.9) && values.iter().any(|value| *value < -0.9));
    }
}
