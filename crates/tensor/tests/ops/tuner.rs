//! Kernels that were chosen by measurement: their numbers are the twins', and a choice is measured once.

use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime};

use clipseg_shaders::kernels::{attention, layer_norm, matmul_tile, softmax};
use clipseg_shaders::twins;
use clipseg_tensor::{
    Activation, AttentionMask, DType, Device, DeviceOptions, KernelFamily, LayerNorm, Linear, Packing, Plan,
    Recorder, Result, Tensor,
};

use super::support::{Random, assert_close, devices, has_subgroups, run};

/// Sums in another order, and scores of some magnitude.
const TOLERANCE: f32 = 1e-5;

fn tuned(family: KernelFamily, folder: &Path) -> Device {
    let options =
        DeviceOptions { kernels: family, tuning: Some(folder.to_owned()), ..DeviceOptions::default() };
    Device::open(&options).expect("what was opened once is there")
}

/// The families that the adapter runs.
fn families() -> Vec<KernelFamily> {
    devices().iter().filter(|device| !device.is_processor()).map(Device::kernels).collect()
}

/// The file's text, and when it was written.
fn notes(folder: &Path) -> (String, SystemTime) {
    let files = fs::read_dir(folder).expect("the folder is made with the first choice");
    let files: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let written =
        file.metadata().and_then(|about| about.modified()).expect("files say when they were written");
    (fs::read_to_string(file).expect("the notes are text"), written)
}

/// Checks `op` by two devices in turn on one folder: the first measures, the second finds the choice, which
/// is noted with this title.
fn check(family: KernelFamily, title: &str, expected: &[f32], op: impl Fn(&Device) -> Vec<f32>) {
    let folder = tempfile::tempdir().expect("a folder");
    let run_tuned = || {
        let device = tuned(family, folder.path());
        assert_close(&op(&device), expected, TOLERANCE);
        device.resources_created()
    };
    let measuring = run_tuned();
    let first = notes(folder.path());
    assert!(first.0.contains(title), "{title}: {}", first.0);
    let finding = run_tuned();
    assert!(finding < measuring, "{finding} things were made on the device, and {measuring} in measuring");
    assert_eq!(notes(folder.path()), first);
}

#[test]
fn a_tuned_product_equals_the_twin_and_its_kernel_is_noted() {
    let mut random = Random(5);
    let (input, weight) = (random.values(10 * 12), random.values(8 * 12));
    let params = matmul_tile::Params { rows: 10, columns: 8, inner: 12, ..Default::default() };
    let mut expected = vec![0.0; 10 * 8];
    twins::matmul(&params, Activation::Relu, &input, &weight, &[], &[], &mut expected);
    check(KernelFamily::Workgroup, "matmul 16x8x12 F32 Relu: matmul_skinny, ", &expected, |device| {
        let layer = Linear::new(device, 8, 12, &weight, None).unwrap();
        let input = device.upload(&[10, 12], &input).unwrap();
        run(device, |recorder| recorder.linear_with(&input, &layer, Activation::Relu, None))
    });
}

#[test]
fn a_tuned_layer_norm_equals_the_twin_and_its_kernel_is_noted() {
    let (rows, columns) = (21, 68);
    let mut random = Random(6);
    let input = random.values(rows * columns);
    let (weight, bias) = (random.values(columns), random.values(columns));
    let params = layer_norm::Params { rows: rows as u32, columns: columns as u32, epsilon: 1e-5 };
    let mut expected = vec![0.0; input.len()];
    twins::layer_norm(&params, &input, &weight, &bias, &mut expected);
    for family in families() {
        check(family, "layer_norm 32x68: layer_norm", &expected, |device| {
            let layer = LayerNorm::new(device, &weight, &bias, 1e-5).unwrap();
            let input = device.upload(&[rows, columns], &input).unwrap();
            run(device, |recorder| recorder.layer_norm(&input, &layer))
        });
    }
}

#[test]
fn a_tuned_softmax_equals_the_twin_and_its_kernel_is_noted() {
    let (rows, columns) = (21, 37);
    let input = Random(8).values(rows * columns);
    let mut expected = vec![0.0; input.len()];
    let params = softmax::Params { rows: rows as u32, columns: columns as u32 };
    twins::softmax(&params, &input, &mut expected);
    // Elsewhere there is nothing to choose from.
    for device in devices().iter().filter(|device| has_subgroups(device)) {
        check(device.kernels(), "softmax 32x37: softmax", &expected, |device| {
            run(device, |recorder| recorder.softmax(&device.upload(&[rows, columns], &input)?))
        });
    }
}

#[test]
fn tuned_attention_equals_the_twin_and_its_kernel_is_noted() {
    let (rows, heads, head_size) = (40, 2, 16);
    let cu_seqlens = [0, 3, 25, 40];
    let mut random = Random(7);
    let values = random.values(rows * 3 * heads * head_size);
    let params = attention::Params {
        tokens: rows as u32,
        heads: heads as u32,
        head_size: head_size as u32,
        scale: 0.25,
        ..Default::default()
    };
    let mut expected = [vec![0.0; rows * heads * head_size], vec![0.0; rows * heads * head_size]];
    twins::attention(&params, &values, &[], &[], &mut expected[0]);
    let packed = attention::Params { causal: 1, has_cu_seqlens: 1, ..params };
    twins::attention(&packed, &values, &[], &cu_seqlens, &mut expected[1]);
    let upload = |device: &Device| device.upload(&[1, rows, 3 * heads * head_size], &values).unwrap();
    for family in families() {
        check(family, "attention 1x64 2x16: attention_", &expected[0], |device| {
            let input = upload(device);
            run(device, |recorder| recorder.attention(&input, heads, &AttentionMask::default()))
        });
        check(family, "attention 1x64 in 4 of 32 2x16 causal: attention_", &expected[1], |device| {
            let input = upload(device);
            let cu_seqlens = device.upload_u32(&[4], &cu_seqlens).unwrap();
            let packing = Some(Packing { cu_seqlens: &cu_seqlens, max_seqlen: 24, shared: None });
            let mask = AttentionMask { causal: true, packing, ..AttentionMask::default() };
            run(device, |recorder| recorder.attention(&input, heads, &mask))
        });
    }
}

// A host's commands are yet to be submitted, and what is measured cannot wait for that.
#[test]
fn what_is_measured_runs_at_once_within_a_hosts_commands() {
    for family in families() {
        let folder = tempfile::tempdir().unwrap();
        let device = tuned(family, folder.path());
        let layer = LayerNorm::new(&device, &[1.0; 8], &[0.0; 8], 1e-5).unwrap();
        let record = || -> Result<Tensor> {
            let mut recorder = Recorder::new(&device);
            let input = recorder.input(&[3, 8])?;
            recorder.layer_norm(&input, &layer)
        };
        let (_, commands) = device.commands(record).unwrap();
        assert!(commands.is_empty());
        assert!(notes(folder.path()).0.contains("layer_norm 4x8: "));
    }
}

/// Rewrites the notes: of each task, the first of `kernels` that is among those to choose from.
fn choose(folder: &Path, kernels: [&str; 2]) {
    let (text, _) = notes(folder);
    let chosen = |line: &str| {
        let (task, _) = line.split_once("\": \"")?;
        let kernel = kernels.into_iter().find(|kernel| task.contains(&format!(" {kernel}")))?;
        let comma = if line.ends_with(',') { "," } else { "" };
        Some(format!("{task}\": \"{kernel}\"{comma}\n"))
    };
    let text: String = text.lines().map(|line| chosen(line).unwrap_or_else(|| format!("{line}\n"))).collect();
    let file = fs::read_dir(folder).expect("the notes").next().expect("a file").expect("an entry").path();
    fs::write(file, text).expect("the notes are written");
}

// On textures a kernel on buffers takes more memory than one that was written for them.
#[test]
fn what_is_planned_is_what_a_tuned_recording_takes() {
    for family in families() {
        let folder = tempfile::tempdir().unwrap();
        let record = |choice: Option<[&str; 2]>| {
            if let Some(kernels) = choice {
                choose(folder.path(), kernels);
            }
            let device = tuned(family, folder.path());
            let norm = LayerNorm::new(&device, &[1.0; 96], &[0.0; 96], 1e-5).unwrap();
            let layer = Linear::new(&device, 32, 32, &[0.1; 32 * 32], None).unwrap();
            let record = |recorder: &mut Recorder| -> Result<Tensor> {
                let input = recorder.input(&[1, 40, 96])?;
                let reduced = recorder.film(1, &input, None, None)?;
                let normalised = recorder.layer_norm(&reduced, &norm)?;
                let context = recorder.attention(&normalised, 2, &AttentionMask::default())?;
                recorder.linear(&context, &layer)
            };
            let mut planning = Recorder::planning(&device);
            record(&mut planning).unwrap();
            let mut recording = Recorder::new(&device);
            let output = record(&mut recording).unwrap();
            assert_eq!(planning.arena_bytes(), recording.arena_bytes());
            let plan = recording.finish().unwrap();
            for kernel in choice.iter().flatten() {
                assert!(plan.kernels().any(|(name, _)| name == *kernel), "{kernel} was not taken");
            }
            drop(output);
            planning.arena_bytes()
        };
        record(None);
        if family == KernelFamily::Subgroup {
            let on_textures = record(Some(["attention_subgroup", "layer_norm_subgroup"]));
            let on_buffers = record(Some(["attention_vec4", "layer_norm_vec4"]));
            assert!(on_buffers > on_textures, "{on_buffers} bytes, {on_textures} on textures");
        }
    }
}

/// An op with a table of kernels.
enum Op {
    /// Of so many heads.
    Attention {
        heads: usize,
        causal: bool,
    },
    LayerNorm(LayerNorm),
    Product(Linear),
    Softmax,
}

impl Op {
    fn layer_norm(device: &Device, columns: usize) -> Self {
        let layer = LayerNorm::new(device, &vec![1.5; columns], &vec![0.5; columns], 1e-5);
        Self::LayerNorm(layer.expect("a layer"))
    }

    fn product(device: &Device, columns: usize, inner: usize) -> Self {
        let layer = Linear::new(device, columns, inner, &vec![0.1; columns * inner], None);
        Self::Product(layer.expect("a layer"))
    }

    /// The kernels that take `input`.
    fn kernels(&self, device: &Device, input: &Tensor) -> Vec<&'static str> {
        let recorder = Recorder::new(device);
        let kernels = match self {
            &Self::Attention { heads, causal } => {
                let mask = AttentionMask { causal, ..AttentionMask::default() };
                recorder.attention_kernels(DType::F32, input, heads, &mask)
            }
            Self::LayerNorm(layer) => recorder.layer_norm_kernels(DType::F32, input, layer),
            Self::Product(layer) => Ok(recorder.linear_kernels(DType::F32, input, layer)),
            Self::Softmax => Ok(recorder.softmax_kernels()),
        };
        kernels.expect("the shapes fit")
    }

    /// By a kernel, or by none as the engine takes one.
    fn record(&self, recorder: &mut Recorder, kernel: Option<&str>, input: &Tensor) -> Result<Tensor> {
        match (self, kernel) {
            (&Self::Attention { heads, causal }, kernel) => {
                let mask = AttentionMask { causal, ..AttentionMask::default() };
                match kernel {
                    Some(kernel) => recorder.attention_by(kernel, DType::F32, input, heads, &mask),
                    None => recorder.attention(input, heads, &mask),
                }
            }
            (Self::LayerNorm(layer), Some(kernel)) => {
                recorder.layer_norm_by(kernel, DType::F32, input, layer)
            }
            (Self::LayerNorm(layer), None) => recorder.layer_norm(input, layer),
            (Self::Product(layer), Some(kernel)) => {
                recorder.linear_by(kernel, DType::F32, input, layer, Activation::None, None)
            }
            (Self::Product(layer), None) => recorder.linear(input, layer),
            (Self::Softmax, Some(kernel)) => recorder.softmax_by(kernel, input),
            (Self::Softmax, None) => recorder.softmax(input),
        }
    }
}

/// The op between others that leave what they give where the device's family has it, so that a kernel that
/// reads it elsewhere pays for the copies.
fn record_between(device: &Device, op: &Op, input: &Tensor, kernel: Option<&str>) -> (Plan, Tensor) {
    let record = || -> Result<(Plan, Tensor)> {
        let mut recorder = Recorder::new(device);
        let batch = input.shape()[0];
        let given = recorder.film(batch, input, None, None)?;
        let output = op.record(&mut recorder, kernel, &given)?;
        let kept = recorder.film(batch, &output, None, None)?;
        Ok((recorder.finish()?, kept))
    };
    record().expect("the op is recorded")
}

// Prints what each kernel takes, and which of them is chosen.
#[test]
#[ignore = "times kernels, for which the machine has to be quiet"]
fn what_is_chosen_is_the_fastest() {
    const ROUNDS: usize = 8;
    for family in families() {
        let folder = tempfile::tempdir().unwrap();
        let device = tuned(family, folder.path());
        let mut ops = vec![
            ([1, 485, 3 * 12 * 64], Op::Attention { heads: 12, causal: false }),
            ([8, 485, 3 * 4 * 16], Op::Attention { heads: 4, causal: false }),
            ([8, 16, 3 * 8 * 64], Op::Attention { heads: 8, causal: true }),
            ([1, 485, 768], Op::layer_norm(&device, 768)),
            ([1, 8 * 485, 64], Op::layer_norm(&device, 64)),
            ([1, 12 * 485, 485], Op::Softmax),
        ];
        if family == KernelFamily::Workgroup {
            ops.push(([1, 485, 768], Op::product(&device, 768, 768)));
            ops.push(([1, 8, 512], Op::product(&device, 1536, 512)));
        }
        for (shape, op) in &ops {
            let input = device.upload(shape, &Random(9).values(shape.iter().product())).unwrap();
            let kernels = op.kernels(&device, &input);
            let plans: Vec<_> =
                kernels.iter().map(|kernel| record_between(&device, op, &input, Some(kernel))).collect();
            let mut times = vec![f64::INFINITY; plans.len()];
            for _ in 0..ROUNDS {
                for ((plan, _), least) in plans.iter().zip(&mut times) {
                    let start = Instant::now();
                    plan.run().submit().unwrap();
                    device.wait().unwrap();
                    *least = least.min(start.elapsed().as_secs_f64());
                }
            }
            let (chosen, _) = record_between(&device, op, &input, None);
            let is_chosen = |kernel: &str| chosen.kernels().any(|(name, _)| name == kernel);
            let least = times.iter().copied().fold(f64::INFINITY, f64::min);
            println!("{family:?} {shape:?}");
            for (kernel, seconds) in kernels.iter().zip(&times) {
                let mark = if is_chosen(kernel) { "chosen" } else { "" };
                println!("    {kernel:30} {:9.3} ms {:6.2} x {mark}", 1e3 * seconds, seconds / least);
            }
            let place = kernels.iter().position(|kernel| is_chosen(kernel)).expect("one of them is chosen");
            assert!(times[place] < 1.25 * least, "{} was chosen: {times:?}", kernels[place]);
        }
    }
}
