//! Each step of a plan on an adapter beside the CPU twin of its kernel, on what the adapter itself had before
//! the step: which step is the first to differ, whatever came of it later.

mod operand;
mod twins_of_textures;

use std::sync::{Mutex, PoisonError};

use self::operand::Operand;
use crate::step::{Dispatch, Step};
use crate::tensor::DType;
use crate::twin::{Call, Input, twin_of};
use crate::{Device, Error, Result};

/// How far a step may be from its twin, as a share of the twin's largest value: sums of thousands of products
/// in another order are closer, and a wrong number is not.
const TOLERANCE: f32 = 1e-4;
/// As much more for f16 values, of which the smallest difference in the sums may give the next.
const F16_STEP: f32 = 1.0 / 1024.0;

/// A step of a plan beside the twin of its kernel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StepCheck {
    /// Its place in the plan, from 0.
    pub step: usize,
    /// The kernel's name, its file's in `shaders/wgsl/`, or that of a copy between a buffer and a texture.
    pub kernel: &'static str,
    /// The values of the kernel's overrides.
    pub overrides: Vec<(&'static str, u32)>,
    /// The kernel's parameters, the sizes of what it works on among them.
    pub parameters: String,
    /// How far a value may be from its twin's, as a share of the largest.
    pub tolerance: f32,
    /// The value that is the farthest from its twin's.
    pub worst: Worst,
}

/// Where a step differs most from its twin.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Worst {
    /// Which value of the output, row by row.
    pub place: usize,
    /// What the adapter gives.
    pub actual: f32,
    /// What the twin gives.
    pub expected: f32,
    /// How far they are from each other, as a share of the twin's largest value; infinite where one of them
    /// alone is not a number.
    pub difference: f32,
}

impl StepCheck {
    /// Whether the step gives what its twin gives.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.worst.difference <= self.tolerance
    }
}

impl std::fmt::Display for StepCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { step, kernel, parameters, worst, .. } = self;
        let Worst { place, actual, expected, difference } = worst;
        let overrides: Vec<_> =
            self.overrides.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        write!(
            f,
            "step {step}, {kernel}, {parameters}, overrides [{}]: value {place} is {actual}, its twin's {expected}: {difference:.1e} \
             of the largest apart",
            overrides.join(", ")
        )
    }
}

/// Where a checking device keeps what it found.
#[derive(Default)]
pub(crate) struct StepChecks(Mutex<Option<Vec<StepCheck>>>);

impl StepChecks {
    pub fn is_on(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn add(&self, check: StepCheck) {
        if let Some(checks) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            checks.push(check);
        }
    }
}

impl Device {
    /// From now on every run of every plan on this device goes step by step, each beside the CPU twin of its
    /// kernel, until [`take_step_checks`](Self::take_step_checks). That takes as long as plain loops on one
    /// core take.
    ///
    /// # Errors
    /// [`Error::Adapter`] for the processor, which runs the twins.
    pub fn start_step_checks(&self) -> Result<()> {
        if self.is_processor() {
            let reason = "it runs the twins that steps are checked against; name an adapter".to_owned();
            return Err(Error::Adapter { adapter: self.description().to_owned(), reason });
        }
        *self.step_checks().0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        Ok(())
    }

    /// Ends checking: every step that was run since [`start_step_checks`](Self::start_step_checks), in the
    /// order in which they ran.
    #[must_use]
    pub fn take_step_checks(&self) -> Vec<StepCheck> {
        let checks = self.step_checks().0.lock().unwrap_or_else(PoisonError::into_inner).take();
        checks.unwrap_or_default()
    }
}

/// Has `run` run the steps, by their places, one by one, and notes how each compares.
pub(crate) fn check_steps(
    device: &Device,
    steps: &[Step],
    uniforms: &[u8],
    run: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<()> {
    for (index, step) in steps.iter().enumerate() {
        let check = match step {
            Step::Dispatch(dispatch) => check_dispatch(device, index, dispatch, uniforms, run)?,
            Step::BufferToTexture { buffer, texture, rows, columns } => {
                let before = Operand::of_buffer(device, buffer, DType::F32)?;
                run(index)?;
                let after = Operand::of_texture(device, texture)?;
                copied("copy_buffer_to_texture", index, [before, after], [*rows, *columns])
            }
            Step::TextureToBuffer { texture, buffer, rows, columns } => {
                let before = Operand::of_texture(device, texture)?;
                run(index)?;
                let after = Operand::of_buffer(device, buffer, DType::F32)?;
                copied("copy_texture_to_buffer", index, [before, after], [*rows, *columns])
            }
        };
        device.step_checks().add(check);
    }
    Ok(())
}

fn check_dispatch(
    device: &Device,
    step: usize,
    dispatch: &Dispatch,
    uniforms: &[u8],
    run: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<StepCheck> {
    let kernel = dispatch.pipeline.kernel;
    let overrides = dispatch.pipeline.overrides();
    let params = dispatch.params(uniforms);
    let (written, read) = dispatch.resources.split_last().ok_or_else(|| no_twin(kernel.name))?;
    let inputs: Vec<_> = read.iter().map(|resource| Operand::of(device, resource)).collect::<Result<_>>()?;
    run(step)?;
    let actual = Operand::of(device, written)?;
    let length = (written.bytes / if written.is_f16 { 2 } else { 4 }) as usize;
    // What a twin leaves as it is, as rows beyond packed sequences, may be anything.
    let (actual, expected) = match twin_of(kernel) {
        Some(twin) => {
            let actual = actual.matrix(1, length);
            let mut expected = actual.clone();
            let words: Vec<_> = inputs.iter().map(Operand::as_words).collect();
            let inputs: Vec<_> = words.iter().map(|words| Input::Words(words)).collect();
            twin(Call { params, overrides, inputs: &inputs, output: &mut expected })?;
            (actual, expected)
        }
        None => twins_of_textures::compare(dispatch, params, &inputs, &actual, length)?
            .ok_or_else(|| no_twin(kernel.name))?,
    };
    let any_f16 = written.is_f16 || read.iter().any(|resource| resource.is_f16);
    Ok(StepCheck {
        step,
        kernel: kernel.name,
        overrides: overrides.to_vec(),
        parameters: (dispatch.show_params)(params),
        tolerance: TOLERANCE + if any_f16 { F16_STEP } else { 0.0 },
        worst: worst(&actual, &expected),
    })
}

fn no_twin(kernel: &str) -> Error {
    Error::Device(format!("{kernel}: its steps have no twin to be checked against"))
}

fn copied(kernel: &'static str, step: usize, values: [Operand; 2], sizes: [u32; 2]) -> StepCheck {
    let [rows, columns] = sizes.map(|size| size as usize);
    let [before, after] = values.map(|values| values.matrix(rows, columns));
    StepCheck {
        step,
        kernel,
        overrides: Vec::new(),
        parameters: format!("rows: {rows}, columns: {columns}"),
        tolerance: 0.0,
        worst: worst(&after, &before),
    }
}

/// The value that is the farthest from what is expected.
fn worst(actual: &[f32], expected: &[f32]) -> Worst {
    let finite = expected.iter().filter(|value| value.is_finite());
    let largest = finite.fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let mut worst = Worst { place: 0, actual: 0.0, expected: 0.0, difference: 0.0 };
    if actual.len() != expected.len() {
        worst.difference = f32::INFINITY;
        return worst;
    }
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let is_same = actual == expected || (actual.is_nan() && expected.is_nan());
        let apart = if is_same { 0.0 } else { (actual - expected).abs() / largest };
        let difference = if apart.is_nan() { f32::INFINITY } else { apart };
        if difference > worst.difference || index == 0 {
            worst = Worst { place: index, actual, expected, difference };
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use clipseg_shaders::kernels::sigmoid;
    use clipseg_shaders::{Activation, Kernel};

    use super::*;
    use crate::step::Resource;
    use crate::{AdapterChoice, DeviceOptions, Recorder};

    /// A sigmoid that forgets a sign.
    fn broken() -> &'static Kernel {
        let source = sigmoid::KERNEL.source.replace("exp(-", "exp(");
        assert_ne!(source, sigmoid::KERNEL.source, "nothing was broken");
        Box::leak(Box::new(Kernel { source: source.leak(), ..sigmoid::KERNEL }))
    }

    /// What the steps gave of a plan whose second step is a sigmoid by `kernel`.
    fn checks_with(kernel: &'static Kernel) -> Vec<StepCheck> {
        let options = DeviceOptions { adapter: AdapterChoice::Driver, ..DeviceOptions::default() };
        let device = Device::open(&options).expect("this test needs an adapter");
        let mut recorder = Recorder::new(&device);
        let input = recorder.input(&[2, 3]).unwrap();
        let first = recorder.activation(&input, Activation::QuickGelu).unwrap();
        let second = recorder.allocate(&[2, 3], DType::F32).unwrap();
        let mut resources = Vec::new();
        for tensor in [&first, &second] {
            resources.push(Resource::buffer(recorder.buffer_of(tensor).unwrap(), tensor.bytes()));
        }
        recorder.dispatch(kernel, &[], sigmoid::Params { length: 6 }, resources, [1; 3], 0).unwrap();
        let third = recorder.softmax_by("softmax", &second).unwrap();
        let output = recorder.output(&third).unwrap();
        let plan = recorder.finish().unwrap();
        device.start_step_checks().unwrap();
        let mut run = plan.run();
        run.write(&input, &[0.5, -1.0, 2.0, 3.0, 0.25, -0.125]).unwrap();
        pollster::block_on(run.finish(&[&output])).unwrap();
        device.take_step_checks()
    }

    /// The identifiers and words of a text.
    fn names(source: &str) -> impl Iterator<Item = &str> {
        source.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric())
    }

    // A step of a kernel without a twin would pass every check unseen, and one without an op is dead.
    #[test]
    fn every_kernel_has_a_twin_and_an_op() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = std::fs::read_dir(folder.join("ops")).unwrap().map(|entry| entry.unwrap().path());
        let mut sources: Vec<_> = files.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        // A table of its own; and what meets a host's own memory stands before or behind a plan's steps.
        let others = ["ops/attention/variants.rs", "recorder.rs", "photo.rs", "mask.rs", "overlay.rs"];
        sources.extend(others.map(|file| std::fs::read_to_string(folder.join(file)).unwrap()));
        for kernel in clipseg_shaders::kernels::ALL {
            let has_twin = twin_of(kernel).is_some() || twins_of_textures::has_twin(kernel.name);
            assert!(has_twin, "{} has no twin", kernel.name);
            let has_op = sources.iter().any(|source| names(source).any(|name| name == kernel.name));
            assert!(has_op, "no op runs {}", kernel.name);
        }
        assert!(!twins_of_textures::has_twin("") && !names("matmul_tile_dot").any(|it| it == "matmul"));
    }

    #[test]
    fn a_broken_kernel_is_named_and_those_after_it_are_not() {
        let checks = checks_with(broken());
        let agree: Vec<_> = checks.iter().map(|check| (check.kernel, check.agrees())).collect();
        assert_eq!(agree, [("activation", true), ("sigmoid", false), ("softmax", true)]);
        let Worst { place, actual, expected, .. } = checks[1].worst;
        // Of its inputs 2.99 is the farthest from zero.
        assert_eq!(place, 3);
        assert!((actual - 0.048).abs() < 0.001 && (expected - 0.952).abs() < 0.001, "{}", checks[1]);
        let text = checks[1].to_string();
        assert!(text.starts_with("step 1, sigmoid, Params { length: 6 }"), "{text}");
    }

    #[test]
    fn sound_kernels_agree() {
        assert!(checks_with(&sigmoid::KERNEL).iter().all(StepCheck::agrees));
    }

    #[test]
    fn what_is_not_a_number_is_as_far_away_as_can_be() {
        assert_eq!(worst(&[1.0, f32::NAN], &[1.0, 2.0]).difference, f32::INFINITY);
        assert_eq!(worst(&[1.0], &[1.0, 2.0]).difference, f32::INFINITY);
        assert_eq!(worst(&[f32::NEG_INFINITY, 4.0], &[f32::NEG_INFINITY, 2.0]).difference, 1.0);
    }

    #[test]
    fn the_processor_is_not_held_against_itself() {
        let options = DeviceOptions { adapter: AdapterChoice::Processor, ..DeviceOptions::default() };
        let device = Device::open(&options).expect("the processor is always there");
        assert!(matches!(device.start_step_checks(), Err(Error::Adapter { .. })));
    }
}
