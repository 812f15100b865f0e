//! `cargo xtask verify`: the engine's numbers beside transformers'.

mod compute;
mod full;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clipseg::{AdapterChoice, Device, DeviceOptions, KernelFamily, MatrixUnits, Precision, StepCheck};

use crate::compare::{Comparison, print_table};
use crate::reference_file::Reference;
use crate::root;

/// The committed checkpoints, from the repository's root.
const FIXTURES: &str = "fixtures/models";

/// What `cargo xtask verify` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask verify                     all checkpoints and references of fixtures/
  cargo xtask verify --full              the full-size checkpoint on a photo
  cargo xtask verify --adapter cpu       on the processor
  cargo xtask verify --steps --adapter driver
                                         each step of every plan beside the CPU twin of its kernel: which is wrong?
  cargo xtask verify --model DIR --reference FILE.safetensors
  cargo xtask verify --workgroup --precision f16 --tolerance 2e-2
                                         where halved weights and activations change hidden states, and how much

Exits with 1 when a tensor exceeds the tolerance, has another shape, or cannot be computed.")]
pub struct VerifyArguments {
    /// A checkpoint directory: config.json and the weights
    #[arg(long, value_name = "DIR", requires = "reference")]
    model: Option<PathBuf>,
    /// A reference file for it; may be repeated
    #[arg(long, value_name = "FILE", requires = "model")]
    reference: Vec<PathBuf>,
    /// Make the full-size checkpoint in target/full (once, 600 MB) and check it on the committed photo
    #[arg(long, conflicts_with_all = ["model", "reference"])]
    full: bool,
    /// The largest |Δ| allowed, relative to the tensor's largest magnitude [default: 1e-4; with --full 1e-3]
    #[arg(long)]
    tolerance: Option<f64>,
    /// The adapter's name or number, as `clipseg devices` lists them, cpu for the processor, or driver for the
    /// best that a driver offers
    #[arg(long, value_name = "NAME|INDEX|cpu|driver")]
    adapter: Option<AdapterChoice>,
    /// Take the workgroup kernels even where others are faster
    #[arg(long, alias = "classic")]
    workgroup: bool,
    /// How weights, and with f16 and the workgroup kernels activations, are stored: the table shows, layer by layer, what that
    /// costs [auto, f32, f16]
    #[arg(long, default_value = "auto")]
    precision: Precision,
    /// Whether products and attention run on matrix units, with --precision f16 and the workgroup kernels [off, known, any]
    #[arg(long, default_value = "off", value_name = "WHERE")]
    matrix_units: MatrixUnits,
    /// Run every plan step by step, compare each step on the adapter with the CPU twin of its kernel, and name the
    /// first that differs: its kernel, sizes, overrides and worst value
    #[arg(long)]
    steps: bool,
    /// Keep bounds checks in the shaders
    #[arg(long)]
    checked: bool,
}

pub fn run(arguments: &VerifyArguments) -> Result<()> {
    let kernels = if arguments.workgroup { KernelFamily::Workgroup } else { KernelFamily::Auto };
    let adapter = arguments.adapter.clone().unwrap_or_default();
    let runtime_checks = arguments.checked;
    let precision = arguments.precision;
    let device = Device::open(&DeviceOptions {
        adapter,
        kernels,
        precision,
        matrix_units: arguments.matrix_units,
        runtime_checks,
        ..DeviceOptions::default()
    })?;
    println!("adapter: {}, {}", device.description(), device.runs());
    if arguments.steps {
        device.start_step_checks().context("--steps")?;
    }
    let outputs = verify_outputs(arguments, &device);
    // A step that differs explains outputs that do.
    if arguments.steps {
        judge_steps(&device.take_step_checks())?;
    }
    outputs
}

fn verify_outputs(arguments: &VerifyArguments, device: &Device) -> Result<()> {
    if arguments.full {
        return full::verify(device, arguments.tolerance.unwrap_or(1e-3));
    }
    let pairs = match &arguments.model {
        Some(model) => {
            arguments.reference.iter().map(|reference| (model.clone(), reference.clone())).collect()
        }
        None => committed()?,
    };
    verify_pairs(device, &pairs, arguments.tolerance.unwrap_or(1e-4))
}

/// Says how far each kernel was from its twin, and fails with the first step that is too far.
fn judge_steps(checks: &[StepCheck]) -> Result<()> {
    let mut kernels: BTreeMap<_, (usize, f32)> = BTreeMap::new();
    for check in checks {
        let (steps, largest) = kernels.entry(check.kernel).or_default();
        *steps += 1;
        *largest = largest.max(check.worst.difference);
    }
    println!("\n{:<30} steps  largest difference from its twin", "kernel");
    for (kernel, (steps, largest)) in kernels {
        println!("{kernel:<30} {steps:>5}  {largest:.1e}");
    }
    if let Some(first) = checks.iter().find(|check| !check.agrees()) {
        bail!("the first step that differs from its twin is {first}");
    }
    println!("all {} steps agree with their twins", checks.len());
    Ok(())
}

/// Every checkpoint of `fixtures/models` with every one of its references.
fn committed() -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut pairs = Vec::new();
    for model in sorted_entries(&root().join(FIXTURES))? {
        let references = model.join("references");
        if !references.is_dir() {
            continue;
        }
        for reference in sorted_entries(&references)? {
            if reference.extension().is_some_and(|extension| extension == "safetensors") {
                pairs.push((model.clone(), reference));
            }
        }
    }
    ensure!(!pairs.is_empty(), "no reference in {FIXTURES}; make them with `cargo xtask reference`");
    Ok(pairs)
}

fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn verify_pairs(device: &Device, pairs: &[(PathBuf, PathBuf)], tolerance: f64) -> Result<()> {
    let mut failed = 0;
    let mut compared = 0;
    for (model, path) in pairs {
        let reference = Reference::read(path)?;
        let release = reference.transformers.as_deref().unwrap_or("of an unknown release");
        println!(
            "\n{} · {} ({}, transformers {release})",
            shown(model),
            shown(&reference.path),
            reference.task
        );
        let tolerance = reference.tolerance.map_or(tolerance, |own| own.max(tolerance));
        let computed = match compute::outputs(device, model, &reference) {
            Ok(computed) => computed,
            Err(error) => {
                // Every tensor of the file then counts as failed, and the others are still checked.
                println!("  {error:#}");
                compute::Outputs::new()
            }
        };
        let rows: Vec<_> = reference
            .outputs
            .iter()
            .map(|(name, expected)| Comparison::new(name, expected, computed.get(name)))
            .collect();
        compared += rows.len();
        failed += print_table(&rows, tolerance);
    }
    println!(
        "\n{compared} tensors of {} references compared, {failed} failed (tolerance {tolerance:e})",
        pairs.len()
    );
    if failed > 0 {
        bail!("{failed} tensors differ from the reference");
    }
    Ok(())
}

/// Paths inside the repository as they are from its root.
fn shown(path: &Path) -> String {
    path.strip_prefix(root().join(FIXTURES)).unwrap_or(path).display().to_string()
}
