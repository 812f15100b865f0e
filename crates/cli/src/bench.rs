//! `clipseg bench`.

mod report;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use clipseg::{ClipSeg, MemoryUse, Photo};

use self::report::{Kernel, Report, Spread, Step};
use crate::inputs::{self, AdapterArguments, PhotoArguments, Preparation};
use crate::model::ModelArguments;
use crate::output;
use crate::progress::{Progress, Stopwatch};

/// Measure how long loading and segmenting take.
///
/// After one cold pass, each warm run segments the same photo by the same prompts; printed are median,
/// minimum and maximum.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Photo to segment [default: 640 × 480 pixels of noise, always the same].
    #[arg(long, value_name = "PHOTO")]
    image: Option<PathBuf>,
    /// Number of prompts, each another.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    prompts: u16,
    /// Number of warm runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Print what each kernel takes of one further run, by the adapter's own clock, and the rate at which it does
    /// the operations, and reads and writes the bytes, that it cannot do without.
    #[arg(long)]
    profile: bool,
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
  clipseg bench --model clipseg-rd64-refined
  clipseg bench --model clipseg-rd64-refined --profile
  clipseg bench --model clipseg-rd64-refined --image photo.jpg --prompts 8 --runs 10 --json";

/// Things to look for; of different lengths, as prompts are.
const PROMPTS: [&str; 8] = [
    "a cat",
    "a remote control",
    "the background",
    "something to drink from",
    "a wooden table",
    "glass",
    "the person on the left",
    "a red car in front of a house",
];

/// The steps of a run, in the order of [`run_once`]'s seconds.
const STEPS: [&str; 5] = ["preprocessing", "image encoding", "text encoding", "decoding", "all together"];

/// Runs the command; `start` is when the process began.
pub fn run(arguments: &Arguments, start: Instant) -> Result<()> {
    let model = arguments.model.open()?;
    let preparation = Preparation::read(&model)?;
    let photo = match &arguments.image {
        Some(path) => arguments.reading.open(path)?,
        None => noise(640, 480)?,
    };
    let prompts = prompts(arguments.prompts.into());
    // What the tokenizer cannot encode is found before the weights are read.
    inputs::encode(&preparation.tokenizer, &prompts)?;

    let mut stopwatch = Stopwatch::start();
    let device = arguments.adapter.open()?;
    let open_seconds = stopwatch.lap();
    model.download_weights()?;
    let download_seconds = stopwatch.lap();
    let progress = Progress::start();
    progress.step("loading the model");
    let model = preparation.load(&device)?;
    let load_seconds = open_seconds + stopwatch.lap();

    progress.step("first mask");
    let segmentation = model.segment(&model.encode_image(&photo)?, &prompts)?;
    let mask = segmentation.prompt(0).resized(photo.width(), photo.height())?.mask(0, 0.5);
    ensure!(mask.len() == photo.width() * photo.height(), "the mask has not the photo's size");
    let first_mask_seconds = start.elapsed().as_secs_f64() - download_seconds;

    let mut runs = Vec::with_capacity(arguments.runs.into());
    for number in 1..=arguments.runs {
        progress.step(format!("run {number} of {}", arguments.runs));
        runs.push(run_once(&model, &photo, &prompts)?);
    }
    let kernel_times = arguments.profile.then(|| profile(&model, &photo, &prompts)).transpose()?;
    drop(progress);

    let warm = STEPS.into_iter().enumerate();
    let MemoryUse { weights: weight_bytes, plans: arena_bytes } = device.memory_use();
    let report = Report {
        adapter: device.description().to_owned(),
        kernels: format!("{:?}", device.kernels()).to_lowercase(),
        width: photo.width(),
        height: photo.height(),
        prompts: arguments.prompts,
        texts: prompts,
        runs: arguments.runs,
        load_seconds,
        first_mask_seconds,
        warm: warm
            .map(|(step, name)| Step { name, spread: Spread::of(runs.iter().map(|run| run[step]).collect()) })
            .collect(),
        weight_bytes,
        arena_bytes,
        kernel_times,
    };
    if arguments.json { output::print_json(&report) } else { output::print(&report.to_text()) }
}

/// The kernels of one run, the longest first.
fn profile(model: &ClipSeg, photo: &Photo, prompts: &[String]) -> Result<Vec<Kernel>> {
    let device = model.model().device();
    device.start_profile()?;
    run_once(model, photo, prompts)?;
    Ok(Kernel::of(&device.take_profile()))
}

/// Seconds of each of [`STEPS`].
fn run_once(model: &ClipSeg, photo: &Photo, prompts: &[String]) -> Result<[f64; STEPS.len()]> {
    let mut total = Stopwatch::start();
    let mut stopwatch = Stopwatch::start();
    let pixels = model.processor().preprocess(photo);
    let preprocessing = stopwatch.lap();
    let scene = model.encode_pixels(&pixels)?;
    model.wait()?;
    let image = stopwatch.lap();
    // Past the cache of prompts, which would leave nothing to measure.
    let batch = model.tokenizer().encode_batch(prompts)?;
    let condition = pollster::block_on(model.model().encode_text((&batch).into()))?;
    let text = stopwatch.lap();
    model.decode(&scene, &condition)?;
    let decoding = stopwatch.lap();
    Ok([preprocessing, image, text, decoding, total.lap()])
}

/// So many different prompts; beyond [`PROMPTS`] numbered ones.
fn prompts(count: usize) -> Vec<String> {
    let prompt = |index: usize| {
        let (round, prompt) = (index / PROMPTS.len(), PROMPTS[index % PROMPTS.len()]);
        if round == 0 { prompt.to_owned() } else { format!("{prompt} {}", round + 1) }
    };
    (0..count).map(prompt).collect()
}

/// A photo of random bytes, always the same: the SplitMix64 sequence.
fn noise(width: usize, height: usize) -> Result<Photo> {
    let byte = |place: usize| {
        let mut bits = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits >> 56) as u8
    };
    Ok(Photo::from_rgb(width, height, (0..width * height * 3).map(byte).collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_differ() {
        let prompts = prompts(20);
        let different: std::collections::HashSet<_> = prompts.iter().collect();
        assert_eq!((different.len(), prompts[9].as_str()), (20, "a remote control 2"));
    }
}
