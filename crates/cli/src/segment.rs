//! `clipseg segment`.

mod drawing;
mod legend;
mod photos;
mod regions;
mod report;
mod saves;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clipseg::{ClipSeg, Condition};

use self::drawing::{Decoded, Drawing};
use self::photos::Opened;
use self::report::{Report, Seconds};
use self::saves::Kind;
use crate::inputs::{AdapterArguments, PhotoArguments, Preparation};
use crate::model::ModelArguments;
use crate::progress::{Progress, Stopwatch};
use crate::prompts::PromptArguments;
use crate::resolution::ResolutionArguments;
use crate::{names, output};

/// Photos that are read ahead, and results that wait to be written.
const WAITING: usize = 2;

/// Find what prompts describe in photos.
///
/// Writes three PNG files of the photo's size for each prompt: the probability as grey, the mask of what
/// reaches the threshold, and the photo with the mask in colour; with --save what you choose, also polygons,
/// run lengths and label maps for other programs.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Photos (JPEG, PNG, WebP, GIF, BMP or TIFF), and folders whose photos to take. One that cannot be read is
    /// reported at the end and does not keep the others from being segmented.
    #[arg(required = true, value_name = "PHOTO|DIR")]
    photos: Vec<PathBuf>,
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
    /// Write the model's own logits of a single photo too: tensor `logits`, f32 [prompts, height, width].
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
  clipseg segment --model clipseg-rd64-refined holiday/ more/*.jpg -p \"a cat\" -p \"a dog\" --out masks --json
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --logits cat.safetensors --adapter 0";

/// Where the results go.
struct Targets {
    folder: Option<output::Folder>,
    logits: Option<output::File>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let threshold = arguments.threshold;
    ensure!((0.0..=1.0).contains(&threshold), "--threshold {threshold}: must lie between 0 and 1");
    arguments.check_simplify()?;
    arguments.resolution.check()?;
    let photos = photos::list(&arguments.photos)?;
    ensure!(
        photos.len() == 1 || arguments.logits.is_none(),
        "--logits takes a single photo, {} are given; --save npy writes a file for each",
        photos.len()
    );
    let model = arguments.model.open()?;
    let folder = model.folder();
    let preparation = Preparation::read(&model)?;
    let prompts = arguments.prompts.read(&preparation, &arguments.reading)?;
    // Before anything else is loaded, so that a wrong name is told at once.
    let first = photos::open(&photos[0], arguments, &preparation.processor);
    let first = if photos.len() == 1 { Ok(first?) } else { first };
    let targets = Targets::prepare(arguments, &photos, folder)?;

    let mut stopwatch = Stopwatch::start();
    let device = arguments.adapter.open()?;
    let open = stopwatch.lap();
    model.download_weights()?;
    stopwatch.lap();
    let progress = Progress::start();
    progress.step("loading the model");
    let model = preparation.load(&device)?;
    let load = open + stopwatch.lap();
    progress.step("encoding the prompts");
    let condition = prompts.encode(&model).with_context(|| folder.display().to_string())?;
    let seconds = Seconds { load, encode_prompts: stopwatch.lap(), ..Seconds::default() };
    let work = Work {
        drawing: Drawing { arguments, prompts: &prompts, targets: &targets, adapter: device.description() },
        model: &model,
        folder,
        condition: &condition,
        progress,
        seconds,
    };
    let (reports, failures) = work.run(&photos, first)?;

    match &reports[..] {
        [report] if photos.len() == 1 && arguments.json => output::print_json(report)?,
        reports if arguments.json => output::print_json(&reports)?,
        reports => {
            let text = |report: &Report| match photos.len() {
                1 => report.to_text(),
                _ => format!("{}\n{}\n", report.photo.display(), report.to_text()),
            };
            output::print(&reports.iter().map(text).collect::<String>())?;
        }
    }
    for failure in &failures {
        crate::report::error(failure);
    }
    ensure!(failures.is_empty(), "{} of {} photos could not be segmented", failures.len(), photos.len());
    Ok(())
}

/// What all photos have in common.
struct Work<'a> {
    drawing: Drawing<'a>,
    model: &'a ClipSeg,
    folder: &'a Path,
    condition: &'a Condition,
    progress: Progress,
    /// Those that are spent once.
    seconds: Seconds,
}

impl<'a> Work<'a> {
    /// Segments the photos, the first of which is open: while the device works on one, the next is read and the results of the
    /// one before are written. Gives also what was wrong with the photos that could not be read.
    fn run(
        self,
        photos: &'a [PathBuf],
        first: Result<Opened>,
    ) -> Result<(Vec<Report<'a>>, Vec<anyhow::Error>)> {
        let names = names::for_photos(photos);
        let mut failures = Vec::new();
        let (to_device, opened) = sync_channel(WAITING);
        let (to_drawing, decoded) = sync_channel(WAITING);
        let reports = thread::scope(|scope| {
            let (arguments, processor) = (self.drawing.arguments, self.model.processor());
            scope.spawn(move || {
                let rest = photos[1..].iter().map(|path| photos::open(path, arguments, processor));
                for opened in std::iter::once(first).chain(rest) {
                    // Nobody listens any more after an error of the device or of a file that is written.
                    if to_device.send(opened).is_err() {
                        return;
                    }
                }
            });
            let drawing = scope.spawn(|| -> Result<Vec<_>> {
                // Taken along, so that the sender learns of an error.
                let decoded = decoded;
                decoded.iter().map(|decoded| self.drawing.draw(decoded)).collect()
            });
            for (place, opened) in opened.iter().enumerate() {
                let opened = match opened {
                    Ok(opened) => opened,
                    Err(error) => {
                        failures.push(error);
                        continue;
                    }
                };
                let which = match photos.len() {
                    1 => String::new(),
                    count => format!("{} ({} of {count}): ", photos[place].display(), place + 1),
                };
                let decoded = self.decode(&photos[place], names[place].clone(), opened, &which)?;
                if to_drawing.send(decoded).is_err() {
                    break;
                }
            }
            drop((to_drawing, opened));
            match drawing.join() {
                Ok(reports) => reports,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        Ok((reports?, failures))
    }

    fn decode(&self, path: &'a Path, name: String, opened: Opened, which: &str) -> Result<Decoded<'a>> {
        let Self { model, progress, .. } = self;
        let Opened { photo, pixels } = opened;
        let mut stopwatch = Stopwatch::start();
        progress.step(format!("{which}encoding"));
        let count = pixels.count();
        let scenes = model.encode_windows(&pixels, |done| {
            if count > 1 {
                progress.step(format!("{which}encoding, {done} of {count} windows"));
            }
        })?;
        let encode_image = stopwatch.lap();
        progress.step(format!("{which}decoding"));
        let segmentation = model.decode_windows(&scenes, self.condition)?;
        let seconds = Seconds { encode_image, decode: stopwatch.lap(), ..self.seconds };
        if !segmentation.logits().values.iter().all(|logit| logit.is_finite()) {
            bail!(
                "{}: the model's logits are not finite numbers; its weights are damaged, download them again",
                self.folder.display()
            );
        }
        Ok(Decoded { path, name, photo, segmentation, windows: count, seconds })
    }
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

impl Targets {
    /// Checks that everything that was asked for can be written.
    fn prepare(arguments: &Arguments, photos: &[PathBuf], model: &Path) -> Result<Self> {
        let weights = model.join("model.safetensors");
        let read = photos.iter().map(PathBuf::as_path).chain([weights.as_path()]);
        let read: Vec<_> = read.chain(arguments.prompts.files()).collect();
        let logits = arguments.logits.as_deref().map(|path| output::File::prepare(path, "--logits", &read));
        let folder = arguments.out.as_deref().map(|path| output::Folder::prepare(path, "--out"));
        Ok(Self { folder: folder.transpose()?, logits: logits.transpose()? })
    }
}
