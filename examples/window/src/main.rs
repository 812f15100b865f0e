//! A window that finds things in a photo while their names are typed. The GPU is eframe's, opened as eframe
//! opens it; the engine moves in, and what egui draws is a texture that the engine wrote: nothing is read
//! back. The photo is encoded once, and each key press runs the decoder alone.
//!
//! `cargo run --release -- PHOTO --model DIR`; without, a scene and the small model of this repository.

mod engine;
mod frames;
mod report;
mod window;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use eframe::egui;
use eframe::egui_wgpu::{WgpuSetup, wgpu};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

const USAGE: &str = "\
usage: clipseg-window [PHOTO] [--model DIR] [--all-features] [--report]

PHOTO           the photo to begin with; others can be dropped on the window
--model DIR     a checkpoint as the Hub serves it, such as clipseg-rd64-refined
--all-features  open the GPU with all that makes the engine faster, and not as eframe does by default
--report        draw all the time, and print a line of JSON whenever something else is shown";

/// What the program was called with.
pub struct Arguments {
    pub photo: PathBuf,
    pub model: PathBuf,
    pub with_all_features: bool,
    pub is_reporting: bool,
}

impl Arguments {
    /// None for what it does not know.
    fn parse(mut words: impl Iterator<Item = std::ffi::OsString>) -> Option<Self> {
        let fixtures = Path::new(REPOSITORY).join("fixtures");
        let fixtures = fixtures.canonicalize().unwrap_or(fixtures);
        let mut arguments = Self {
            photo: fixtures.join("shapes/scene-1.png"),
            model: fixtures.join("models/clipseg-shapes"),
            with_all_features: false,
            is_reporting: false,
        };
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--model") => arguments.model = words.next()?.into(),
                Some("--all-features") => arguments.with_all_features = true,
                Some("--report") => arguments.is_reporting = true,
                Some(flag) if flag.starts_with('-') => return None,
                _ => arguments.photo = word.into(),
            }
        }
        Some(arguments)
    }
}

/// A device with the features and limits that the engine makes use of, besides what egui needs.
fn with_all_features(adapter: &wgpu::Adapter) -> wgpu::DeviceDescriptor<'static> {
    let of_egui = wgpu::Limits { max_texture_dimension_2d: 8192, ..wgpu::Limits::default() };
    wgpu::DeviceDescriptor {
        label: Some("window"),
        required_features: clipseg::required_features(adapter),
        required_limits: of_egui.or_better_values_from(&clipseg::required_limits(adapter)),
        ..wgpu::DeviceDescriptor::default()
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse(std::env::args_os().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let mut options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default().with_inner_size([1000.0, 700.0]),
        // All else is eframe's default, and so is the device: `wgpu::Limits::default()`, and no features.
        ..eframe::NativeOptions::default()
    };
    if let (true, WgpuSetup::CreateNew(setup)) =
        (arguments.with_all_features, &mut options.wgpu_options.wgpu_setup)
    {
        setup.device_descriptor = Arc::new(with_all_features);
    }
    let made = eframe::run_native(
        "clipseg",
        options,
        Box::new(|context| Ok(Box::new(window::Window::new(context, arguments)?))),
    );
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
