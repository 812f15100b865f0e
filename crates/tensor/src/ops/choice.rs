//! Which kernel of an op's table runs: the first that takes a problem, or the one measured to be the fastest
//! of those whose numbers are right.

use std::time::{Duration, Instant};

use clipseg_shaders::Kernel;

use crate::tensor::DType;
use crate::{Device, Error, Plan, Recorder, Result, Tensor, commands};

/// Operands of more rows are taken to be like those of this many.
pub(super) const MOST_ROWS: usize = 4096;
/// What a plan to be timed should take at least, so that its submit does not count.
const LEAST_SECONDS: f64 = 2e-3;
/// The most repetitions of the op in such a plan.
const MOST_TIMES: f64 = 32.0;
/// A plan is run this often, or until so much time has passed; its best run counts.
const RUNS: usize = 10;
const ENOUGH: Duration = Duration::from_millis(50);
/// How far a number may be from the reference's, as a share of the largest: sums in another order are much
/// closer, and a wrong number is not.
const TOLERANCE: f32 = 1e-4;
/// As much more where values are rounded to f16, of which the smallest difference may give the next.
const F16_STEP: f32 = 1.0 / 1024.0;

/// An op at a problem, to be measured: the rows of its table that take the problem are variants to choose
/// from.
pub(super) trait Tunable {
    /// A row of the op's table.
    type Variant: 'static;
    /// Operands besides the input.
    type Others;

    /// The variant's kernel.
    fn kernel(variant: &Self::Variant) -> &'static Kernel;

    /// How the problem is called in the notes. Problems of one title are measured once.
    fn title(&self) -> String;

    /// The plainest variant, which takes the problem on any adapter: what the others are held against.
    fn reference(&self) -> &'static Self::Variant;

    /// Whether the variant rounds to f16 on its way to the output, or there.
    fn rounds_to_f16(&self, variant: &Self::Variant) -> bool;

    /// The input, of random numbers, and the other operands. Their sizes follow from the title.
    fn operands(&self, device: &Device) -> Result<(Tensor, Self::Others)>;

    /// Records the op by a variant.
    fn record(
        &self,
        recorder: &mut Recorder,
        variant: &Self::Variant,
        input: &Tensor,
        others: &Self::Others,
    ) -> Result<Tensor>;
}

impl Recorder {
    /// The first of the `candidates` that take a task, or the fastest where the device is to measure that and
    /// can.
    pub(super) fn choose<T: Tunable>(
        &self,
        task: &T,
        candidates: &[&'static T::Variant],
    ) -> Option<&'static T::Variant> {
        let &default = candidates.first()?;
        let tuner = self.device().gpu().ok().and_then(|gpu| gpu.tuner.as_ref());
        let Some(tuner) = tuner.filter(|_| candidates.len() > 1) else { return Some(default) };
        // Variants on buffers take the same memory, one as the other.
        if self.is_planning() && !bind_textures::<T>(candidates) {
            return Some(default);
        }
        let names: Vec<_> = candidates.iter().map(|variant| T::kernel(variant).name).collect();
        match tuner.choose(&task.title(), &names, || fastest(self.device(), task, candidates)) {
            Ok(place) => Some(candidates[place]),
            Err(error) => {
                log::warn!("{}: {error}; its kernel was not measured", task.title());
                Some(default)
            }
        }
    }
}

fn bind_textures<T: Tunable>(variants: &[&T::Variant]) -> bool {
    variants.iter().any(|variant| T::kernel(variant).binds_textures())
}

/// The place of the fastest of `candidates` whose numbers equal the reference's, which need not be among
/// them.
pub(super) fn fastest<T: Tunable>(device: &Device, task: &T, candidates: &[&T::Variant]) -> Result<usize> {
    // What is measured has to run now, whatever the calling thread collects.
    let _aside = commands::aside();
    let (input, others) = task.operands(device)?;
    let bench = Bench { device, task, input, others, in_textures: bind_textures::<T>(candidates) };
    let reference = task.reference();
    let (plan, output) = bench.record(reference, 1)?;
    let expected = read(&plan, &output)?;
    let reference_seconds = time(device, &plan)?;
    let times = (LEAST_SECONDS / reference_seconds).clamp(1.0, MOST_TIMES) as usize;
    drop((plan, output));
    let mut best: Option<(usize, f64)> = None;
    for (place, variant) in candidates.iter().enumerate() {
        let kernel = T::kernel(variant);
        let tolerance = if task.rounds_to_f16(variant) { TOLERANCE + F16_STEP } else { TOLERANCE };
        let is_reference = kernel == T::kernel(reference);
        let measured = match is_reference && times == 1 {
            // The same once more: on a processor it may take seconds.
            true => Ok(Some(reference_seconds)),
            false => bench.record(variant, times).and_then(|(plan, output)| {
                spoil(device, &output)?;
                let is_right = is_reference || agree(&read(&plan, &output)?, &expected, tolerance);
                Ok(is_right.then_some(time(device, &plan)?))
            }),
        };
        match measured {
            Ok(Some(seconds)) => {
                log::debug!("{}: {} takes {:.3e} s", task.title(), kernel.name, seconds / times as f64);
                if best.is_none_or(|(_, least)| seconds < least) {
                    best = Some((place, seconds));
                }
            }
            Ok(None) => {
                log::warn!("{}: {} gives wrong numbers on this adapter", task.title(), kernel.name);
            }
            Err(error) => log::warn!("{}: {}: {error}", task.title(), kernel.name),
        }
    }
    let none = || Error::Device(format!("{}: no kernel runs and is right", task.title()));
    best.map(|(place, _)| place).ok_or_else(none)
}

/// Fills an output with what no kernel should give: its memory may hold the numbers of an earlier run, and a
/// kernel that leaves some of them in place must not pass for right.
fn spoil(device: &Device, output: &Tensor) -> Result<()> {
    match output.storage().buffer.get() {
        // All bits set are not a number, in full and in f16.
        Some(buffer) => device.write_buffer(buffer.get(), &vec![u8::MAX; output.bytes() as usize]),
        None => Ok(()),
    }
}

/// What a task's variants are measured on.
struct Bench<'a, T: Tunable> {
    device: &'a Device,
    task: &'a T,
    input: Tensor,
    others: T::Others,
    /// Whether the input comes from a texture and the output goes to one, as between the subgroup kernels. A
    /// variant on buffers then has to copy both.
    in_textures: bool,
}

impl<T: Tunable> Bench<'_, T> {
    /// The op so many times over; the output is the last one's.
    fn record(&self, variant: &T::Variant, times: usize) -> Result<(Plan, Tensor)> {
        let mut recorder = Recorder::new(self.device);
        let input = match self.in_textures {
            true => recorder.copied_to_texture(&self.input)?,
            false => self.input.clone(),
        };
        let mut output = self.record_once(&mut recorder, variant, &input)?;
        for _ in 1..times {
            output = self.record_once(&mut recorder, variant, &input)?;
        }
        let output = recorder.output(&output)?;
        Ok((recorder.finish()?, output))
    }

    fn record_once(&self, recorder: &mut Recorder, variant: &T::Variant, input: &Tensor) -> Result<Tensor> {
        let output = self.task.record(recorder, variant, &input.without_copy(), &self.others)?;
        if self.in_textures {
            recorder.texture_of(&output)?;
        }
        Ok(output)
    }
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
        plan.run().submit_whole()?;
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

/// Values between -1 and 1 that look random: the upper bits of a linear congruential generator (Knuth's
/// MMIX).
pub(super) fn noise(length: usize) -> Vec<f32> {
    let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    let states = std::iter::successors(Some(1_u64), step).skip(1);
    states.map(|state| (state >> 40) as f32 / (1 << 23) as f32 - 1.0).take(length).collect()
}

/// The shape whose measurement speaks for that of `input`, by rows: of rows up to a power of two.
pub(super) fn representative_rows(input: &Tensor) -> [usize; 2] {
    [input.rows().next_power_of_two().min(MOST_ROWS), input.columns()]
}

/// `values` on the device, stored as `dtype`.
pub(super) fn upload_as(dtype: DType, device: &Device, shape: &[usize], values: &[f32]) -> Result<Tensor> {
    match dtype {
        DType::F16 => device.upload_f16(shape, values),
        _ => device.upload(shape, values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
