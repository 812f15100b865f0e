//! `clipseg segment`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use clipseg::{Photo, Segmentation};
use serde::Serialize;

use crate::inputs::{self, AdapterArguments, ModelArguments, PhotoArguments, Preparation};
use crate::progress::{Progress, Stopwatch};
use crate::table::Align;
use crate::{names, output, pictures, table};

/// Find what prompts describe in a photo.
///
/// Writes three PNG files of the photo's size for each prompt: the probability as grey, the mask of what
/// reaches the threshold, and the photo with the mask in colour.
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
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --logits cat.safetensors --adapter 0";

/// What the command prints.
#[derive(Serialize)]
struct Report<'a> {
    photo: &'a Path,
    width: usize,
    height: usize,
    adapter: &'a str,
    threshold: f32,
    prompts: Vec<PromptResult<'a>>,
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
    model.wait()?;
    let encode_image = stopwatch.lap();
    progress.step("encoding the prompts");
    let encoded = pollster::block_on(model.model().encode_text((&text).into()));
    let condition = encoded.with_context(|| folder.display().to_string())?;
    let encode_text = stopwatch.lap();
    progress.step("decoding");
    let segmentation = model.decode(&scene, &condition)?;
    let seconds = Seconds { load, encode_image, encode_text, decode: stopwatch.lap() };
    ensure!(
        segmentation.logits().values.iter().all(|logit| logit.is_finite()),
        "{}: the model's logits are not finite numbers; its weights are damaged, download them again",
        folder.display()
    );

    progress.step("writing");
    let names = names::for_prompts(&arguments.photo, prompts);
    let mut results = Vec::with_capacity(prompts.len());
    for (index, prompt) in prompts.iter().enumerate() {
        // A prompt at a time: maps of the photo's size may be large.
        let map = segmentation.prompt(index).resized(photo.width(), photo.height())?;
        let probabilities = map.probabilities(0);
        let mask = map.mask(0, *threshold);
        results.push(PromptResult {
            prompt,
            cut: text.truncated.contains(&index),
            peak_probability: probabilities.iter().copied().fold(0.0, f32::max),
            area_percent: 100.0 * mask.iter().filter(|&&inside| inside).count() as f64 / mask.len() as f64,
            files: targets.write_pictures(&names[index], index, &photo, &probabilities, &mask)?,
        });
    }
    targets.write_logits(&segmentation)?;
    drop(progress);

    let report = Report {
        photo: &arguments.photo,
        width: photo.width(),
        height: photo.height(),
        adapter: device.description(),
        threshold: *threshold,
        prompts: results,
        logits: targets.logits.as_ref().map(output::File::path),
        seconds,
    };
    if arguments.json { output::print_json(&report) } else { output::print(&report.to_text()) }
}

impl Targets {
    /// Checks that everything that was asked for can be written.
    fn prepare(arguments: &Arguments, model: &Path) -> Result<Self> {
        let inputs = [arguments.photo.as_path(), &model.join("model.safetensors")];
        let logits = arguments.logits.as_deref().map(|path| output::File::prepare(path, "--logits", &inputs));
        let pictures = arguments.out.as_deref().map(|path| output::Folder::prepare(path, "--out"));
        Ok(Self { logits: logits.transpose()?, pictures: pictures.transpose()? })
    }

    fn write_pictures(
        &self,
        name: &str,
        prompt: usize,
        photo: &Photo,
        probabilities: &[f32],
        mask: &[bool],
    ) -> Result<Option<Files>> {
        let Some(folder) = &self.pictures else { return Ok(None) };
        let write = |kind: &str, png: Vec<u8>| folder.write(&format!("{name}-{kind}.png"), &png);
        Ok(Some(Files {
            probability: write("probability", pictures::probability_png(probabilities, photo)?)?,
            mask: write("mask", pictures::mask_png(mask, photo)?)?,
            overlay: write("overlay", pictures::overlay_png(mask, photo, prompt)?)?,
        }))
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
        for Files { probability, mask, overlay } in
            self.prompts.iter().filter_map(|result| result.files.as_ref())
        {
            for path in [probability, mask, overlay] {
                text += &format!("wrote {}\n", path.display());
            }
        }
        if let Some(path) = self.logits {
            text += &format!("wrote {}\n", path.display());
        }
        text
    }
}
