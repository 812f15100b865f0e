//! `clipseg segment`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clipseg::{Photo, Segmentation};
use serde::Serialize;

use crate::inputs::{self, AdapterArguments, ModelArguments, PhotoArguments, Preparation};
use crate::progress::Progress;
use crate::table::Align;
use crate::{names, output, pictures, table};

/// Find what prompts describe in a photo.
///
/// Writes three PNG files of the photo's size for each prompt: the probability as grey, the mask of what reaches the
/// threshold, and the photo with the mask in colour.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Photo: JPEG, PNG, WebP, GIF, BMP or TIFF.
    photo: PathBuf,
    /// What to look for; give it again for more.
    #[arg(short, long = "prompt", required = true, value_name = "TEXT", allow_hyphen_values = true)]
    prompts: Vec<String>,
    /// Folder for the pictures; made where it is missing.
    #[arg(long, value_name = "DIR", required_unless_present = "logits")]
    out: Option<PathBuf>,
    /// Probability, 0 to 1, from which a pixel belongs to the mask.
    #[arg(long, default_value_t = 0.5, allow_negative_numbers = true)]
    threshold: f32,
    /// Write the model's own logits too: tensor `logits`, f32 [prompts, height, width].
    #[arg(long, value_name = "FILE.safetensors")]
    logits: Option<PathBuf>,
    #[command(flatten)]
    adapter: AdapterArguments,
    #[command(flatten)]
    reading: PhotoArguments,
    /// Print JSON rather than a table.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" -p \"a remote\" --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --out masks --threshold 0.3 --json
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --logits logits.safetensors --adapter llvmpipe";

/// What the command prints.
#[derive(Serialize)]
struct Report<'a> {
    photo: &'a Path,
    width: usize,
    height: usize,
    adapter: &'a str,
    threshold: f32,
    prompts: Vec<PromptReport<'a>>,
    logits: Option<&'a Path>,
    seconds: Seconds,
}

/// One prompt of it.
#[derive(Serialize)]
struct PromptReport<'a> {
    prompt: &'a str,
    /// Whether the prompt was longer than the model reads.
    cut: bool,
    /// The largest probability in the photo.
    peak_probability: f32,
    /// How much of the photo the mask covers.
    area_percent: f64,
    files: Option<Files>,
}

/// The pictures of one prompt.
#[derive(Serialize)]
struct Files {
    probability: PathBuf,
    mask: PathBuf,
    overlay: PathBuf,
}

/// How long the steps took.
#[derive(Serialize)]
struct Seconds {
    load: f64,
    encode_image: f64,
    encode_text: f64,
    decode: f64,
}

/// Where the results go.
struct Targets {
    pictures: Option<output::Folder>,
    logits: Option<output::File>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { prompts, threshold, .. } = arguments;
    ensure!((0.0..=1.0).contains(threshold), "--threshold {threshold}: must lie between 0 and 1");
    let folder = arguments.model.folder()?;
    let preparation = Preparation::read(folder)?;
    let text = inputs::encode(&preparation.tokenizer, prompts)?;
    let photo = arguments.reading.open(&arguments.photo)?;
    let targets = Targets::prepare(arguments, folder)?;

    let progress = Progress::start();
    let mut stopwatch = Stopwatch::start();
    progress.step("loading the model");
    let device = arguments.adapter.open()?;
    let model = preparation.load(&device)?;
    let load = stopwatch.lap();
    progress.step("encoding the photo");
    let scene = model.encode_image(&photo)?;
    let encode_image = stopwatch.lap();
    progress.step("encoding the prompts");
    let condition = pollster::block_on(model.model().encode_text((&text).into()))
        .with_context(|| folder.display().to_string())?;
    let encode_text = stopwatch.lap();
    progress.step("decoding");
    let segmentation = model.decode(&scene, &condition)?;
    let seconds = Seconds { load, encode_image, encode_text, decode: stopwatch.lap() };
    check(&segmentation, folder)?;

    progress.step("writing");
    let names = names::for_prompts(&arguments.photo, prompts);
    let write = |(index, prompt): (usize, &'static str)| (index, prompt);
    let _ = write;
    let mut reports = Vec::with_capacity(prompts.len());
    for (index, (prompt, name)) in prompts.iter().zip(&names).enumerate() {
        let report = PromptReport {
            cut: text.truncated.contains(&index),
            ..targets.write_prompt(&segmentation, index, &photo, *threshold, name)?
        };
        reports.push(PromptReport { prompt, ..report });
    }
    if let Some(file) = &targets.logits {
        let logits = segmentation.logits();
        file.write_tensor("logits", &logits.shape, &logits.values)?;
    }
    drop(progress);

    let report = Report {
        photo: &arguments.photo,
        width: photo.width(),
        height: photo.height(),
        adapter: device.description(),
        threshold: *threshold,
        prompts: reports,
        logits: targets.logits.as_ref().map(output::File::path),
        seconds,
    };
    if arguments.json { output::print_json(&report) } else { output::print(&report.to_text()) }
}
