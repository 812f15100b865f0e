//! `clipseg devices --check`: whether an adapter computes what it should, kernel by kernel.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use clipseg::{
    AdapterChoice, AdapterReport, ClipSegForImageSegmentation, Device, DeviceOptions, ImageInput,
    KernelFamily, MatrixUnits, Precision, StepCheck, TextInput,
};
use pollster::block_on;
use serde::Serialize;

use crate::noise::noise;

/// A small model with seeded random weights; it has the second convolution and the transposed ones that not
/// all have.
const CONFIG: &[u8] = include_bytes!("model/config.json");
const WEIGHTS: &[u8] = include_bytes!("model/model.safetensors");
/// Pixels of a side of the image that it is given.
const SIDE: usize = 56;
/// Tokens of each prompt.
const TOKENS: usize = 7;

/// What an adapter's kernels gave beside their twins on the processor.
#[derive(Serialize)]
pub struct Outcome {
    /// Which kernels ran: workgroup or subgroup, and how weights were stored.
    run: String,
    /// Steps that were compared.
    steps: usize,
    /// The largest difference of each kernel, as a share of the largest value.
    kernels: BTreeMap<&'static str, f32>,
    /// The first step that differs, with its kernel, sizes and worst value.
    differs: Option<String>,
    /// Why the adapter could not be checked.
    failed: Option<String>,
}

impl Outcome {
    /// Whether all steps gave what they should.
    pub fn is_right(&self) -> bool {
        self.differs.is_none() && self.failed.is_none()
    }

    /// A paragraph for people.
    pub fn to_text(&self) -> String {
        let mut text = match (&self.failed, &self.differs) {
            (Some(reason), _) => format!("   check     {}: FAILED: {reason}\n", self.run),
            (None, None) => format!("   check     {}: {} steps are right\n", self.run, self.steps),
            (None, Some(first)) => {
                format!("   check     {}: WRONG, of {} steps first {first}\n", self.run, self.steps)
            }
        };
        for (kernel, difference) in &self.kernels {
            // Writing to a string does not fail.
            let _ = writeln!(text, "             {kernel:<28} {difference:.1e}");
        }
        text
    }
}

/// Checks the adapter at `index` with every family of kernels that it has, and with weights in full and in
/// f16.
pub fn check(index: usize, report: &AdapterReport) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for &kernels in &report.families {
        for (precision, name) in [(Precision::F32, "f32"), (Precision::F16, "f16")] {
            let options = DeviceOptions { kernels, precision, ..DeviceOptions::default() };
            outcomes.push(outcome(index, format!("{} kernels, {name}", super::family(kernels)), options));
        }
    }
    if report.matrix_units.is_some() {
        let options = DeviceOptions {
            kernels: KernelFamily::Workgroup,
            precision: Precision::F16,
            matrix_units: MatrixUnits::Any,
            ..DeviceOptions::default()
        };
        outcomes.push(outcome(index, "matrix units, f16".to_owned(), options));
    }
    outcomes
}

fn outcome(index: usize, run: String, options: DeviceOptions) -> Outcome {
    let mut outcome = Outcome { run, steps: 0, kernels: BTreeMap::new(), differs: None, failed: None };
    match steps(&DeviceOptions { adapter: AdapterChoice::Index(index), ..options }) {
        Ok(steps) => outcome.note(&steps),
        Err(error) => outcome.failed = Some(format!("{error:#}")),
    }
    outcome
}

impl Outcome {
    fn note(&mut self, steps: &[StepCheck]) {
        self.steps = steps.len();
        self.differs = steps.iter().find(|step| !step.agrees()).map(ToString::to_string);
        for step in steps {
            let largest = self.kernels.entry(step.kernel).or_default();
            *largest = largest.max(step.worst.difference);
        }
    }
}

/// Every step of the small model on two prompts and an image, on a device opened so.
fn steps(options: &DeviceOptions) -> Result<Vec<StepCheck>> {
    let device = Device::open(options)?;
    let folder = tempfile::tempdir().context("a temporary folder for the model")?;
    for (name, content) in [("config.json", CONFIG), ("model.safetensors", WEIGHTS)] {
        fs::write(folder.path().join(name), content).with_context(|| format!("writing {name}"))?;
    }
    let model = ClipSegForImageSegmentation::from_pretrained(&device, folder.path())?;
    device.start_step_checks()?;
    let pixel_values = noise(3 * SIDE * SIDE, 1);
    let image = ImageInput { pixel_values: &pixel_values, batch: 1, height: SIDE, width: SIDE };
    let text = &model.config().text_config;
    let vocabulary = text.eos_token_id.min(text.vocab_size as u32 - 1);
    let of_vocabulary = |value: f32| ((value + 1.0) / 2.0 * vocabulary as f32) as u32;
    let mut ids: Vec<_> = noise(2 * TOKENS, 2).into_iter().map(of_vocabulary).collect();
    ids.iter_mut().skip(TOKENS - 1).step_by(TOKENS).for_each(|last| *last = text.eos_token_id);
    let text = TextInput { input_ids: &ids, length: TOKENS, attention_mask: None, position_ids: None };
    let scene = block_on(model.encode_image(image))?;
    let conditions = block_on(model.encode_text(text))?;
    block_on(model.decode(&scene, &conditions))?;
    Ok(device.take_step_checks())
}
