//! `clipseg segment`.

mod legend;
mod regions;
mod saves;
mod settings;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use clipseg::Segmentation;
use clipseg::masks::{Connectivity, LabelMap};
use serde::Serialize;

use self::saves::{Files, Found, Kind, LabelFiles, Saves};
use self::settings::Settings;
use crate::inputs::{AdapterArguments, PhotoArguments, Preparation};
use crate::model::ModelArguments;
use crate::progress::{Progress, Stopwatch};
use crate::prompts::PromptArguments;
use crate::resolution::ResolutionArguments;
use crate::table::Align;
use crate::{names, output, table};

/// Find what prompts describe in a photo.
///
/// Writes three PNG files of the photo's size for each prompt: the probability as grey, the mask of what
/// reaches the threshold, and the photo with the mask in colour; with --save what you choose, also polygons,
/// run lengths and label maps for other programs.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Photo: JPEG, PNG, WebP, GIF, BMP or TIFF.
    photo: PathBuf,
    /// Folder for the files; made where it is missing.
    #[arg(long, value_name = "DIR", required_unless_present = "logits")]
    out: Option<PathBuf>,
    /// Probability, 0 to 1, from which a pixel belongs to the mask.
    #[arg(long, default_value_t = 0.5, allow_negative_numbers = true)]
    threshold: f32,
    /// What to write to the folder, with commas between.
    #[arg(
        long,
        value_enum,
        value_name = "KINDS",
        value_delimiter = ',',
        default_values_t = [Kind::Probability, Kind::Mask, Kind::Overlay],
        requires = "out"
    )]
    save: Vec<Kind>,
    /// Leave out of every mask its connected parts of fewer pixels, and of all that is made of masks; probabilities
    /// stay whole. Pixels that touch by an edge or a corner are connected.
    #[arg(long, value_name = "PIXELS", default_value_t = 1)]
    min_area: usize,
    /// Leave out corners of the polygons in regions files that are no further than this from the line without them;
    /// at 0 polygons enclose exactly the mask.
    #[arg(long, value_name = "PIXELS", default_value_t = 0.0, allow_negative_numbers = true)]
    simplify: f64,
    /// Write the model's own logits too: tensor `logits`, f32 [prompts, height, width].
    #[arg(long, value_name = "FILE.safetensors")]
    logits: Option<PathBuf>,
    #[command(flatten)]
    resolution: ResolutionArguments,
    #[command(flatten)]
    adapter: AdapterArguments,
    #[command(flatten)]
    reading: PhotoArguments,
    /// Print JSON rather than a table.
    #[arg(long)]
    json: bool,
    // Last: what follows would stand under its heading in the help.
    #[command(flatten)]
    prompts: PromptArguments,
}

const EXAMPLES: &str = "\
Examples:
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" -p \"a remote\" --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --out masks --threshold 0.3 --json
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --out masks --save mask,regions --min-area 50 --simplify 1
  clipseg segment --model clipseg-rd64-refined photo.jpg -p sky -p grass -p road --out masks --save labels,npy
  clipseg segment --model clipseg-rd64-refined photo.jpg --prompt-image mug.jpg --prompt-mask mug-mask.png --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a mug\" --prompt-image mug.jpg --mix 0.7 --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p cat --template-set shuffle+ --out masks
  clipseg segment --model clipseg-rd64-refined large.jpg -p \"a cat\" --out masks --scales 1,2,3 --refine
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --logits cat.safetensors --adapter 0";

/// What the command prints.
#[derive(Serialize)]
struct Report<'a> {
    photo: &'a Path,
    width: usize,
    height: usize,
    adapter: &'a str,
    threshold: f32,
    /// Parts in which the photo was looked at.
    windows: usize,
    prompts: Vec<PromptResult<'a>>,
    labels: Option<LabelFiles>,
    logits: Option<&'a Path>,
    seconds: Seconds,
}

/// What came of one prompt.
#[derive(Serialize)]
struct PromptResult<'a> {
    prompt: &'a str,
    /// Whether the prompt was longer than the model reads.
    cut: bool,
    /// The largest probability in the photo.
    peak_probability: f32,
    /// Pixels of the mask.
    area: usize,
    /// How much of the photo the mask covers.
    area_percent: f64,
    /// `[x, y, width, height]` of the box around the mask; null where it is empty.
    bbox: Option<[u32; 4]>,
    files: Option<Files>,
}

/// How long the steps took.
#[derive(Serialize)]
struct Seconds {
    load: f64,
    encode_image: f64,
    encode_prompts: f64,
    decode: f64,
}

/// Where the results go.
struct Targets<'a> {
    saves: Option<Saves<'a>>,
    logits: Option<output::File>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let threshold = &arguments.threshold;
    ensure!((0.0..=1.0).contains(threshold), "--threshold {threshold}: must lie between 0 and 1");
    arguments.check_simplify()?;
    arguments.resolution.check()?;
    let model = arguments.model.open()?;
    let folder = model.folder();
    let preparation = Preparation::read(&model)?;
    let prompts = arguments.prompts.read(&preparation, &arguments.reading)?;
    let photo = arguments.reading.open(&arguments.photo)?;
    let settings = Settings {
        photo: &arguments.photo,
        width: photo.width(),
        height: photo.height(),
        threshold: *threshold,
        min_area: arguments.min_area,
    };
    let targets = Targets::prepare(arguments, folder, settings)?;

    let mut stopwatch = Stopwatch::start();
    let device = arguments.adapter.open()?;
    let open = stopwatch.lap();
    model.download_weights()?;
    stopwatch.lap();
    let progress = Progress::start();
    progress.step("loading the model");
    let model = preparation.load(&device)?;
    let load = open + stopwatch.lap();
    progress.step("encoding the photo");
    let scenes = arguments.resolution.encode(&model, &photo, |done, count| {
        progress.step(format!("encoding the photo: {done} of {count} windows"));
    })?;
    let encode_image = stopwatch.lap();
    progress.step("encoding the prompts");
    let condition = prompts.encode(&model).with_context(|| folder.display().to_string())?;
    let encode_prompts = stopwatch.lap();
    progress.step("decoding");
    let segmentation = model.decode_windows(&scenes, &condition)?;
    let seconds = Seconds { load, encode_image, encode_prompts, decode: stopwatch.lap() };
    ensure!(
        segmentation.logits().values.iter().all(|logit| logit.is_finite()),
        "{}: the model's logits are not finite numbers; its weights are damaged, download them again",
        folder.display()
    );

    progress.step("writing");
    let names = names::for_prompts(&arguments.photo, &prompts.labels);
    let mut results = Vec::with_capacity(prompts.labels.len());
    let has_labels = targets.saves.is_some() && arguments.save.contains(&Kind::Labels);
    let mut label_map = has_labels.then(|| LabelMap::new(photo.width(), photo.height())).transpose()?;
    for (index, prompt) in prompts.labels.iter().enumerate() {
        // A prompt at a time: maps of the photo's size may be large.
        let map = arguments.resolution.draw(&segmentation.prompt(index), &photo)?;
        let probabilities = map.probabilities(0);
        let mut mask = map.binary_mask(0, *threshold)?;
        drop(map);
        if arguments.min_area > 1 {
            mask = mask.without_small(arguments.min_area, Connectivity::Eight);
        }
        if let Some(label_map) = &mut label_map {
            label_map.add(&mask, &probabilities)?;
        }
        let found = Found { index, prompt, probabilities: &probabilities, mask: &mask };
        let files =
            targets.saves.as_ref().map(|saves| saves.write(&names[index], &photo, &found)).transpose()?;
        let area = mask.area();
        results.push(PromptResult {
            prompt,
            cut: prompts.is_cut(index),
            peak_probability: probabilities.iter().copied().fold(0.0, f32::max),
            area,
            area_percent: 100.0 * area as f64 / mask.pixels().len() as f64,
            bbox: mask.bounding_box().map(|found| found.to_array()),
            files,
        });
    }
    let labels = targets.saves.as_ref().zip(label_map);
    let labels = labels.map(|(saves, map)| saves.write_labels(&photo, &map, &prompts.labels)).transpose()?;
    targets.write_logits(&segmentation)?;
    drop(progress);

    let report = Report {
        photo: &arguments.photo,
        width: photo.width(),
        height: photo.height(),
        adapter: device.description(),
        threshold: *threshold,
        windows: scenes.count(),
        prompts: results,
        labels,
        logits: targets.logits.as_ref().map(output::File::path),
        seconds,
    };
    if arguments.json { output::print_json(&report) } else { output::print(&report.to_text()) }
}

impl Arguments {
    fn check_simplify(&self) -> Result<()> {
        let Self { simplify, save, .. } = self;
        ensure!(
            *simplify >= 0.0 && simplify.is_finite(),
            "--simplify {simplify}: must be a number of pixels, 0 or more"
        );
        ensure!(
            *simplify == 0.0 || save.contains(&Kind::Regions),
            "--simplify {simplify}: changes the polygons of regions files alone; add --save regions"
        );
        Ok(())
    }
}

impl<'a> Targets<'a> {
    /// Checks that everything that was asked for can be written.
    fn prepare(arguments: &'a Arguments, model: &Path, settings: Settings<'a>) -> Result<Self> {
        let weights = model.join("model.safetensors");
        let read = [arguments.photo.as_path(), &weights].into_iter().chain(arguments.prompts.files());
        let read: Vec<_> = read.collect();
        let logits = arguments.logits.as_deref().map(|path| output::File::prepare(path, "--logits", &read));
        let folder = arguments.out.as_deref().map(|path| output::Folder::prepare(path, "--out"));
        let (kinds, simplify) = (&arguments.save, arguments.simplify);
        let saves = folder.transpose()?.map(|folder| Saves { folder, kinds, settings, simplify });
        Ok(Self { logits: logits.transpose()?, saves })
    }

    fn write_logits(&self, segmentation: &Segmentation) -> Result<()> {
        let logits = segmentation.logits();
        self.logits.as_ref().map_or(Ok(()), |file| file.write_tensor("logits", &logits.shape, &logits.values))
    }
}

impl Report<'_> {
    fn to_text(&self) -> String {
        let header = ["prompt", "peak probability", "area"].map(str::to_owned);
        let rows = self.prompts.iter().map(|result| {
            let prompt = result.prompt.split_whitespace().collect::<Vec<_>>().join(" ");
            [prompt, format!("{:.4}", result.peak_probability), format!("{:.2} %", result.area_percent)]
        });
        let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
        let mut text = table::render([Align::Left, Align::Right, Align::Right], &rows);
        let files = self.prompts.iter().filter_map(|result| result.files.as_ref()).flat_map(Files::values);
        let labels = self.labels.iter().flat_map(|LabelFiles { map, legend }| [map, legend]);
        for path in files.chain(labels).map(PathBuf::as_path).chain(self.logits) {
            text += &format!("wrote {}\n", path.display());
        }
        text
    }
}
