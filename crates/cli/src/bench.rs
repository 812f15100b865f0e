//! `clipseg bench`.

mod kernel;
mod report;
mod roofline;
mod work;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clipseg::{ImageSize, KernelFamily, MemoryUse, Photo, PreprocessorConfig, Processor};

use self::report::{Profile, Report, Spread, Step};
use self::work::{STEPS, Work};
use crate::inputs::{self, AdapterArguments, PhotoArguments, Preparation};
use crate::kernels::Ceilings;
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
    /// Number of prompts, all different.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    prompts: u16,
    /// Number of times that the photo is encoded in one batch, each time for a prompt of its own.
    #[arg(
        long,
        default_value_t = 1,
        conflicts_with = "prompts",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    batch: u16,
    /// Number of threads that share the model; in a run, all do the whole work at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Side in pixels of the square that the model sees [default: what preprocessor_config.json says].
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Number of warm runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Print how long each kernel takes in one further run, by the adapter's own clock, and its rates of the
    /// operations and bytes that it needs at least.
    #[arg(long)]
    profile: bool,
    /// Measure what the adapter reaches at best, and hold each kernel of one further run against it.
    #[arg(long, conflicts_with = "profile")]
    roofline: bool,
    /// Run the workgroup kernels, which are those of GPUs, also on a software adapter that is faster with
    /// others.
    #[arg(long)]
    workgroup: bool,
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
  clipseg bench --model clipseg-rd64-refined --roofline --precision f16 --matrix-units known
  clipseg bench --model clipseg-rd64-refined --threads 4
  clipseg bench --model clipseg-rd64-refined --size 704 --batch 2
  clipseg bench --model clipseg-rd64-refined --image photo.jpg --prompts 8 --runs 10 --json";

/// The most bytes that photos and their pixels may take on the host.
const MOST_BYTES: u64 = 8 << 30;

impl Arguments {
    /// Refuses more photos than memory is likely to hold: to run out of it ends the program.
    fn check_memory(&self, photo: &Photo, processor: &Processor) -> Result<()> {
        let pixels = processor.preprocess(photo).values.len() as u64;
        let [batch, threads] = [self.batch, self.threads].map(u64::from);
        let bytes = batch * (photo.rgb().len() as u64 + threads * 4 * pixels);
        ensure!(
            bytes <= MOST_BYTES,
            "--batch {batch}, --threads {threads}: the photos and what the model sees of them take {:.2} GB, and at \
             most {:.2} are allowed; take fewer, or a smaller --size",
            bytes as f64 / 1e9,
            MOST_BYTES as f64 / 1e9
        );
        Ok(())
    }
}

/// Runs the command; `start` is when the process began.
pub fn run(arguments: &Arguments, start: Instant) -> Result<()> {
    let model = arguments.model.open()?;
    let mut preparation = Preparation::read(&model)?;
    if let Some(side) = arguments.size {
        let size = ImageSize::Sides { height: side, width: side };
        let config = PreprocessorConfig { do_resize: true, size, ..preparation.processor.config().clone() };
        preparation.processor = Processor::new(config).map_err(|error| anyhow::anyhow!("--size: {error}"))?;
    }
    let photo = match &arguments.image {
        Some(path) => arguments.reading.open(path)?.photo,
        None => work::photo_of_noise(640, 480)?,
    };
    let (width, height) = (photo.width(), photo.height());
    // One photo fits, and to preprocess it here would lengthen the way to the first mask.
    if (arguments.batch, arguments.threads) != (1, 1) {
        arguments.check_memory(&photo, &preparation.processor)?;
    }
    let prompts = work::prompts(arguments.prompts.max(arguments.batch).into());
    // What the tokenizer cannot encode is found before the weights are read.
    inputs::encode(&preparation.tokenizer, &prompts, 1)?;

    let mut stopwatch = Stopwatch::start();
    let kernels = if arguments.workgroup { KernelFamily::Workgroup } else { KernelFamily::Auto };
    let device = arguments.adapter.open_with(kernels)?;
    // Before the time that all runs take.
    ensure!(
        !(arguments.roofline && device.is_processor()),
        "--roofline: the peaks of the processor are not measured; name an adapter by --adapter"
    );
    if arguments.profile || arguments.roofline {
        device.start_profile().context(if arguments.roofline { "--roofline" } else { "--profile" })?;
        drop(device.take_profile());
    }
    let open_seconds = stopwatch.lap();
    model.download_weights()?;
    let download_seconds = stopwatch.lap();
    let progress = Progress::start();
    progress.step("loading the model");
    let model = preparation.load(&device)?;
    let load_seconds = open_seconds + stopwatch.lap();

    progress.step("first mask");
    let work = Work { model, photos: vec![photo; arguments.batch.into()], prompts };
    work.first()?;
    let first_mask_seconds = start.elapsed().as_secs_f64() - download_seconds;

    let mut runs = Vec::new();
    let mut rounds = Vec::new();
    for number in 1..=arguments.runs {
        progress.step(format!("run {number} of {}", arguments.runs));
        let (seconds, round) = work.round(arguments.threads)?;
        runs.extend(seconds);
        rounds.push(round);
    }
    let peaks = arguments.roofline.then(|| device.measure_peaks()).transpose()?;
    let profile =
        (arguments.profile || arguments.roofline).then(|| work.profile(peaks.as_ref())).transpose()?;
    drop(progress);

    let warm = STEPS.into_iter().enumerate();
    let photos = f64::from(arguments.batch) * f64::from(arguments.threads);
    let MemoryUse { weights: weight_bytes, plans: arena_bytes, .. } = device.memory_use();
    let report = Report {
        adapter: device.description().to_owned(),
        kernels: if device.is_processor() {
            "twins".to_owned()
        } else {
            format!("{:?}", device.kernels()).to_lowercase()
        },
        run_by: device.runs(),
        width,
        height,
        prompts: arguments.prompts.max(arguments.batch),
        batch: arguments.batch,
        threads: arguments.threads,
        texts: work.prompts,
        runs: arguments.runs,
        load_seconds,
        first_mask_seconds,
        warm: warm
            .map(|(step, name)| Step { name, spread: Spread::of(runs.iter().map(|run| run[step]).collect()) })
            .collect(),
        photos_per_second: photos / Spread::of(rounds).median_seconds,
        weight_bytes,
        arena_bytes,
        profiled_seconds: profile.as_ref().map(|profile| profile.seconds),
        outside_share: profile.as_ref().map(Profile::outside_share),
        kernel_times: profile.map(|profile| profile.kernels),
        ceilings: peaks.as_ref().map(Ceilings::from),
    };
    if arguments.json { output::print_json(&report) } else { output::print(&report.to_text()) }
}
