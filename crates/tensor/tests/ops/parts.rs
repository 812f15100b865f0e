//! A run that is cut into single workgroups gives the very numbers of a whole one.

use std::collections::BTreeSet;
use std::time::Duration;

use clipseg_shaders::kernels::ALL;
use clipseg_tensor::{
    Activation, AttentionMask, DType, Device, DeviceOptions, KernelFamily, Linear, MatrixUnits, Mlp,
    Precision, Recorder, Result, Tensor, TransposedConvolution, UpsampleInput,
};
use pollster::block_on;

use super::support::{Random, driver};

/// A device that submits a run at once, and one that cuts whatever can be cut.
struct Pair([Device; 2]);

impl Pair {
    fn open(kernels: KernelFamily, precision: Precision, matrix_units: MatrixUnits) -> Result<Self> {
        let open = |longest_submission| {
            Device::open(&DeviceOptions { kernels, precision, matrix_units, longest_submission, ..driver() })
        };
        Ok(Self([open(None)?, open(Some(Duration::from_nanos(1)))?]))
    }

    /// Runs an op on both, twice, as later runs know how long the kernels take. Gives its kernels, where any
    /// of them was cut.
    fn check(&self, record: impl Fn(&Device, &mut Recorder) -> Result<Tensor>) -> Vec<&'static str> {
        let [whole, in_parts] = self.0.each_ref().map(|device| {
            let mut recorder = Recorder::new(device);
            let output = record(device, &mut recorder).expect("the op is recorded");
            let output = recorder.output(&output).expect("the output is kept");
            let plan = recorder.finish().expect("the plan is made");
            let before = device.submissions();
            let run = || block_on(plan.run().finish(&[&output])).expect("the plan runs");
            let outputs = [run(), run()].map(|arrays| arrays[0].values.clone());
            let kernels: Vec<_> = plan.kernels().map(|(name, _)| name).collect();
            (outputs, kernels, device.submissions() - before)
        });
        let kernels = whole.1;
        assert_eq!(kernels, in_parts.1);
        assert_eq!(whole.2, 2, "a submission per run");
        for values in in_parts.0 {
            assert!(values == whole.0[0], "{kernels:?} in parts");
        }
        // Without a cut each of the two runs has a submission per kernel, and one per copy between them.
        if in_parts.2 > 2 * (2 * kernels.len() + 1) { kernels } else { Vec::new() }
    }

    /// Runs every op whose kernels can be cut. Gives the kernels of the runs in which one was.
    fn check_all(&self) -> BTreeSet<&'static str> {
        let mut seen = BTreeSet::new();
        // Textures hold no f16.
        let dtypes: &[_] = match (self.0[0].precision(), self.0[0].kernels()) {
            (Precision::F16, KernelFamily::Workgroup) => &[DType::F32, DType::F16],
            _ => &[DType::F32],
        };
        let mut random = Random(7);
        let upload = |device: &Device, shape: &[usize], dtype, values: &[f32]| match dtype {
            DType::F16 => device.upload_f16(shape, values),
            _ => device.upload(shape, values),
        };
        // Few and many rows; columns that vectors fit, and columns that they do not. What takes less than
        // half a millisecond is not cut, so they are many for the subgroup kernels, which are fast on
        // software drivers.
        let shapes = match self.0[0].kernels() {
            KernelFamily::Workgroup => [[16, 1028, 516], [600, 260, 196], [600, 131, 199]],
            _ => [[1201, 260, 516], [1201, 131, 519], [1201, 516, 260]],
        };
        for &dtype in dtypes {
            for [rows, columns, inner] in shapes {
                let dtype = if columns % 4 == 0 { dtype } else { DType::F32 };
                let values = random.f16_values(rows * inner);
                let (weight, bias) = (random.f16_values(columns * inner), random.values(columns));
                let layer = |device: &Device| Linear::new(device, columns, inner, &weight, Some(&bias));
                let device = &self.0[0];
                let names = {
                    let input = upload(device, &[rows, inner], dtype, &values).expect("an input");
                    Recorder::new(device).linear_kernels(dtype, &input, &layer(device).expect("a layer"))
                };
                for name in &names {
                    seen.extend(self.check(|device, recorder| {
                        let input = upload(device, &[rows, inner], dtype, &values)?;
                        let gelu = Activation::QuickGelu;
                        recorder.linear_by(name, dtype, &input, &layer(device)?, gelu, None)
                    }));
                }
                if names.is_empty() {
                    seen.extend(self.check(|device, recorder| {
                        let input = upload(device, &[rows, inner], dtype, &values)?;
                        recorder.linear_with(&input, &layer(device)?, Activation::QuickGelu, None)
                    }));
                }
            }
            for head_size in [6, 16, 32] {
                let dtype = if head_size % 4 == 0 { dtype } else { DType::F32 };
                let shape = [2, 301, 3 * 3 * head_size];
                let values = random.f16_values(shape.iter().product());
                let mask = AttentionMask::default();
                let device = &self.0[0];
                let names = {
                    let input = upload(device, &shape, dtype, &values).expect("an input");
                    Recorder::new(device).attention_kernels(dtype, &input, 3, &mask).expect("the shapes fit")
                };
                for name in names {
                    seen.extend(self.check(|device, recorder| {
                        let input = upload(device, &shape, dtype, &values)?;
                        recorder.attention_by(name, dtype, &input, 3, &mask)
                    }));
                }
            }
        }
        let (width, hidden, rows) = (64, 516, 701);
        let values = random.f16_values(rows * width);
        let (up, down) = (random.f16_values(width * hidden), random.f16_values(width * hidden));
        let (up_bias, down_bias) = (random.values(hidden), random.values(width));
        seen.extend(self.check(|device, recorder| {
            let layers = Mlp::new(
                Linear::new(device, hidden, width, &up, Some(&up_bias))?,
                Linear::new(device, width, hidden, &down, Some(&down_bias))?,
                Activation::Relu,
            )?;
            let input = device.upload(&[rows, width], &values)?;
            recorder.mlp(&input, &layers, &input)
        }));
        let (channels, middle, kernel, side) = (64, 32, 4, 27);
        let values = random.values(side * side * channels);
        let first = random.values(channels * middle * kernel * kernel);
        let second = random.values(middle * kernel * kernel);
        seen.extend(self.check(|device, recorder| {
            let layer = |inputs, outputs, weight, input| {
                let bias = vec![0.5; outputs];
                TransposedConvolution::new(device, inputs, outputs, kernel, weight, &bias, input)
            };
            let first = layer(channels, middle, &first, UpsampleInput::Tokens)?;
            let second = layer(middle, 1, &second, UpsampleInput::Pixels(kernel * kernel))?;
            let input = device.upload(&[1, side * side, channels], &values)?;
            recorder.transposed_conv2d(&input, (side, side), &first, Some((Activation::Relu, &second)))
        }));
        seen
    }
}

#[test]
fn every_kernel_that_can_be_cut_gives_the_numbers_of_a_whole_run() {
    let mut seen = BTreeSet::new();
    let mut has_subgroups = true;
    for precision in [Precision::F32, Precision::F16] {
        for kernels in [KernelFamily::Workgroup, KernelFamily::Subgroup] {
            match Pair::open(kernels, precision, MatrixUnits::Off) {
                Ok(pair) => seen.extend(pair.check_all()),
                Err(error) if kernels == KernelFamily::Subgroup => {
                    eprintln!("only the workgroup kernels are tested: {error}");
                    has_subgroups = false;
                }
                Err(error) => panic!("these tests need an adapter: {error}"),
            }
        }
    }
    for kernel in ALL.iter().filter(|kernel| kernel.first_workgroup.is_some() && !kernel.uses_matrix_units) {
        let is_run = !kernel.uses_subgroups || has_subgroups;
        assert!(!is_run || seen.contains(kernel.name), "{} was not cut: {seen:?}", kernel.name);
    }
}

#[test]
#[ignore = "needs an adapter with matrix units"]
fn the_kernels_on_matrix_units_give_the_numbers_of_a_whole_run() {
    let pair = Pair::open(KernelFamily::Workgroup, Precision::F16, MatrixUnits::Any)
        .expect("an adapter with matrix units");
    let seen = pair.check_all();
    for op in ["matmul", "attention"] {
        let is_cooperative = |name: &&&str| name.starts_with(&format!("{op}_cooperative"));
        assert!(seen.iter().any(|name| is_cooperative(&name)), "{seen:?}");
    }
}
