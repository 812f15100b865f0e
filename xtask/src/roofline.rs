//! `cargo xtask roofline`: what this adapter reaches at best, measured, and what the kernels of one photo and one prompt make of it.

mod model;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use clipseg::{
    AdapterChoice, ClipSeg, Device, DeviceOptions, KernelFamily, MatrixUnits, Orientation, Photo, Precision,
};

use crate::{root, synth};

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
    /// The adapter's name or number, as `clipseg devices` lists them, or driver for the best that a driver offers
    #[arg(long, value_name = "NAME|INDEX|driver", default_value = "driver")]
    adapter: AdapterChoice,
    /// Run the workgroup kernels, which are those that GPUs run, also where others are faster
    #[arg(long, alias = "classic")]
    workgroup: bool,
    /// How weights, and with f16 and the workgroup kernels activations, are stored [auto, f32, f16]
    #[arg(long, default_value = "auto")]
    precision: Precision,
    /// Whether products and attention run on matrix units, with --precision f16 and the workgroup kernels [off, known, any]
    #[arg(long, default_value = "off", value_name = "WHERE")]
    matrix_units: MatrixUnits,
}

/// Measures the adapter, profiles an image encoding and a decoding, and prints the tables.
pub fn run(arguments: &RooflineArguments) -> Result<()> {
    let folder = synth::given_or_full_size(arguments.model.as_deref())?;
    let kernels = if arguments.workgroup { KernelFamily::Workgroup } else { KernelFamily::Auto };
    let device = Device::open(&DeviceOptions {
        adapter: arguments.adapter.clone(),
        kernels,
        precision: arguments.precision,
        matrix_units: arguments.matrix_units,
        ..DeviceOptions::default()
    })?;
    let peaks = device.measure_peaks()?;
    println!("What {} reaches at best, measured:\n\n{}", device.description(), model::peaks(&peaks));
    let model = ClipSeg::from_pretrained(&device, &folder)
        .with_context(|| format!("cannot load {}", folder.display()))?;
    let photo = Photo::open(root().join("fixtures/photos/coffee.jpg"), Orientation::Apply)?;
    let condition = model.encode_text(&["a cup"])?;
    // Once before: the first run compiles the kernels.
    let both = || model.decode(&model.encode_image(&photo)?, &condition);
    both()?;
    device.start_profile()?;
    both()?;
    println!(
        "One image encoded and one prompt decoded with {}, by {}. The least is, run by run, the longer of the\noperations at the \
         peak rate of the units that the kernel uses and the bytes at the memory's.\n\n{}",
        folder.display(),
        device.runs(),
        model::kernels(&device.take_profile(), &peaks)
    );
    Ok(())
}
