//! `cargo xtask roofline`: what the kernels of one photo and one prompt cost, what named GPUs would take for that at best, and
//! what this adapter takes.

mod model;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use clipseg::{AdapterChoice, ClipSeg, Device, DeviceOptions, KernelFamily, Orientation, Photo};

use crate::{root, synth};

/// What `cargo xtask roofline` takes.
#[derive(Args, Debug)]
pub struct RooflineArguments {
    /// The checkpoint [default: one of the published size, made up in target/full]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Run the workgroup kernels, which are those that GPUs run, also where others are faster
    #[arg(long, alias = "classic")]
    workgroup: bool,
}

/// Profiles an image encoding and a decoding, and prints the table.
pub fn run(arguments: &RooflineArguments) -> Result<()> {
    let folder = synth::given_or_full_size(arguments.model.as_deref())?;
    let kernels = if arguments.workgroup { KernelFamily::Workgroup } else { KernelFamily::Auto };
    let adapter = AdapterChoice::Driver;
    let device = Device::open(&DeviceOptions { adapter, kernels, ..DeviceOptions::default() })?;
    let model = ClipSeg::from_pretrained(&device, &folder)
        .with_context(|| format!("cannot load {}", folder.display()))?;
    let photo = Photo::open(root().join("fixtures/photos/coffee.jpg"), Orientation::Apply)?;
    let condition = model.encode_text(&["a cup"])?;
    // Once before: the first run compiles the kernels.
    let both = || model.decode(&model.encode_image(&photo)?, &condition);
    both()?;
    device.start_profile()?;
    both()?;
    let times = device.take_profile();
    println!(
        "One image encoded and one prompt decoded with {}.\nMilliseconds: on the named GPUs the longer of operations at the peak \
         f32 rate and bytes at the bandwidth,\nkernel by kernel, with nothing for launching them; measured on {}.\n\n{}",
        folder.display(),
        device.description(),
        model::to_markdown(&times)
    );
    Ok(())
}
