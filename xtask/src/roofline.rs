//! `cargo xtask roofline`: `clipseg bench --roofline` with a model of the published size.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{command, root, synth};

/// What `cargo xtask roofline` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask roofline                   the driver's best adapter
  cargo xtask roofline --precision f16 --matrix-units any
  cargo xtask roofline --workgroup       the kernels of GPUs on a software adapter")]
pub struct RooflineArguments {
    /// The checkpoint [default: one of the published size, made up in target/full]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The adapter's name or number, as `clipseg devices` lists them, or driver for the best that a driver
    /// offers
    #[arg(long, value_name = "NAME|INDEX|driver", default_value = "driver")]
    adapter: String,
    /// Run the workgroup kernels, which are those that GPUs run, also where others are faster
    #[arg(long, alias = "classic")]
    workgroup: bool,
    /// How weights, and with f16 and the workgroup kernels activations, are stored [auto, f32, f16]
    #[arg(long, default_value = "auto")]
    precision: String,
    /// Whether products and attention run on matrix units, with --precision f16 and the workgroup kernels
    /// [off, known, any]
    #[arg(long, default_value = "off", value_name = "WHERE")]
    matrix_units: String,
}

/// Measures the adapter, profiles a photo and a prompt, and prints the tables.
pub fn run(arguments: &RooflineArguments) -> Result<()> {
    let folder = synth::given_or_full_size(arguments.model.as_deref())?;
    let mut command = command::clipseg()?;
    command.args(["bench", "--roofline", "--runs", "1", "--adapter", &arguments.adapter]);
    command.args(["--precision", &arguments.precision, "--matrix-units", &arguments.matrix_units]);
    command.arg("--model").arg(folder).arg("--image").arg(root().join("fixtures/photos/coffee.jpg"));
    if arguments.workgroup {
        command.arg("--workgroup");
    }
    command::run(command)
}
