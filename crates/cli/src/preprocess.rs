//! `clipseg preprocess`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use clipseg::Processor;

use crate::inputs::{self, PhotoArguments};
use crate::model::ModelArguments;
use crate::output::{self, Inputs};

/// Write the pixel values that the model reads of a photo.
///
/// The file holds the tensor `pixel_values`, f32 [1, 3, height, width]. The folder needs no more than
/// preprocessor_config.json.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Photo: JPEG, PNG, WebP, GIF, BMP or TIFF.
    photo: PathBuf,
    /// File to write.
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    #[command(flatten)]
    reading: PhotoArguments,
}

const EXAMPLES: &str = "\
Examples:
  clipseg preprocess --model clipseg-rd64-refined photo.jpg --out pixels.safetensors
  clipseg preprocess --model clipseg-rd64-refined --ignore-exif photo.jpg --out pixels.safetensors";

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let model = arguments.model.open()?;
    let processor = model.read(Processor::from_dir)?;
    let photo = arguments.reading.open(&arguments.photo)?;
    inputs::warn_of_cut_off(&arguments.photo, &photo);
    let inputs = Inputs::new(model.folder(), [arguments.photo.as_path()]);
    let file = output::File::prepare(&arguments.out, "--out", &inputs)?;
    let pixels = processor.preprocess(&photo.photo);
    file.write_tensor("pixel_values", &[1, 3, pixels.height, pixels.width], &pixels.values)
}
