//! `clipseg segment`.

mod combining;
mod dataset;
mod drawing;
mod frames;
mod legend;
mod occupied;
mod outcomes;
pub mod photos;
mod regions;
mod report;
mod saves;
mod settings;
mod shaping;
mod work;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{ArgGroup, Args};

use self::combining::CombiningArguments;
use self::dataset::DataSet;
use self::drawing::Drawing;
use self::frames::FrameArguments;
use self::occupied::Occupied;
use self::outcomes::Outcomes;
use self::photos::{Listing, Source};
use self::report::Seconds;
use self::saves::Kind;
use self::shaping::ShapingArguments;
use self::work::Work;
use crate::inputs::{AdapterArguments, PhotoArguments, Preparation};
use crate::model::ModelArguments;
use crate::names::{self, Names};
use crate::output::{self, Inputs};
use crate::progress::{Estimate, Progress, Stopwatch};
use crate::prompts::{PromptArguments, Prompts};
use crate::resolution::ResolutionArguments;

/// Find what prompts describe in photos.
///
/// Writes three PNG files of the photo's size for each prompt: the probability as grey, the mask of what
/// reaches the threshold, and the photo with the mask in colour; with --save what you choose, also polygons,
/// run lengths and label maps for other programs, and data sets to train with.
///
/// What is done to the model's answer comes in this order: --scales, --smooth, --refine, --combine or
/// classes, --negative, --threshold or --min-presence, --invert, --min-area, --grow or --shrink, --feather.
#[derive(Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("wanted")
    .args(["prompt", "prompt_image", "conditions"]).required(true).multiple(true))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Photos (JPEG, PNG, WebP, GIF, BMP or TIFF, of up to 178 million pixels), and folders whose photos to
    /// take, in the order of their names and the numbers in them; - reads paths from stdin, one per line, to
    /// the end before it begins. A photo that fails is reported, and the others are segmented all the same.
    /// Hidden files and pictures that this command wrote are skipped.
    #[arg(required = true, value_name = "PHOTO|DIR")]
    photos: Vec<PathBuf>,
    /// Take the photos of subfolders too, except hidden ones and links to folders; their results go to
    /// subfolders of the same names in the output folder. With yolo, a folder called images becomes images-2.
    #[arg(long)]
    recursive: bool,
    /// Folder for the results, created if missing. It may be the photos' own: photos and what others wrote
    /// are never overwritten, but earlier results of the same file name are, which is made of the names of
    /// photo and prompt: give runs that are to be kept folders of their own. A data set that is there keeps
    /// its photos, and its labels keep their meaning: what would change that is refused.
    #[arg(long, value_name = "DIR", required_unless_present = "logits")]
    out: Option<PathBuf>,
    /// What to write to the folder, separated by commas.
    #[arg(
        long,
        value_enum,
        value_name = "KINDS",
        value_delimiter = ',',
        default_values_t = [Kind::Probability, Kind::Mask, Kind::Overlay],
        requires = "out"
    )]
    save: Vec<Kind>,
    #[command(flatten)]
    shaping: ShapingArguments,
    #[command(flatten)]
    frames: FrameArguments,
    /// Simplify the polygons in regions files and data sets: drop corners that are at most this far from the
    /// line without them. At 0, polygons enclose exactly the mask.
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
    /// Print JSON instead of tables: one line per photo as soon as it is done, with `error` if it failed.
    #[arg(long)]
    json: bool,
    // Last: arguments behind it would stand under its heading in the help.
    #[command(flatten)]
    prompts: PromptArguments,
    /// Take the prompts from a file that `clipseg encode-prompts` wrote with this model, in place of -p.
    // What needs -p is listed too: clap waives a requirement that conflicts with what is given.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "prompt", "prompt_image", "prompt_mask", "prompt_style", "mix", "template", "template_set",
        ]
    )]
    conditions: Option<PathBuf>,
    #[command(flatten)]
    combining: CombiningArguments,
}

const EXAMPLES: &str = "\
Examples:
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" -p \"a remote\" --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --out masks --threshold 0.3 --json
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --out masks --save mask,regions --min-area 50 --simplify 1
  clipseg segment --model clipseg-rd64-refined photo.jpg -p sky -p grass -p road --out masks --save labels,npy
  clipseg segment --model clipseg-rd64-refined photo.jpg --prompt-image mug.jpg --prompt-mask mug-mask.png --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg --prompt-image cut-out.png --prompt-mask alpha --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a mug\" --prompt-image mug.jpg --mix 0.7 --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p cat --template-set shuffle+ --out masks
  clipseg segment --model clipseg-rd64-refined large.jpg -p \"a cat\" --out masks --scales 1,2,3 --refine
  clipseg segment --model clipseg-rd64-refined holiday/ more/*.jpg -p \"a cat\" -p \"a dog\" --out masks --json
  clipseg segment --model clipseg-rd64-refined photos/ --recursive -p \"a cat\" --save mask --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --negative \"a toy cat\" --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p glass -p reflection --combine all --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a person\" --invert --grow 8 --feather 8 --save mask --out masks
  clipseg segment --model clipseg-rd64-refined holiday/ -p \"a cat\" --min-presence 0.8 --out masks
  clipseg segment --model clipseg-rd64-refined holiday/ -p tabby=cat -p persian=cat -p \"a dog=dog\" --save coco,yolo --min-area 50 --simplify 1 --out pets
  clipseg segment --model clipseg-rd64-refined holiday/ --conditions pets.safetensors --out masks
  clipseg segment --model clipseg-rd64-refined frames/ -p \"a cat\" --smooth 0.6 --save mask --out masks
  find . -name '*.jpg' | clipseg segment --model clipseg-rd64-refined - -p \"a cat\" --out masks
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" --logits cat.safetensors --adapter 0";

/// Where the results go.
struct Targets {
    folder: Option<output::Folder>,
    logits: Option<output::File>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    arguments.shaping.check(&arguments.save)?;
    arguments.combining.check(&arguments.save)?;
    arguments.frames.check()?;
    arguments.check_simplify()?;
    arguments.resolution.check()?;
    let mut listing = Listing::of(&arguments.photos, arguments.recursive)?;
    if arguments.save.iter().any(|kind| kind.is_data_set()) {
        listing.leave_out_repeated();
    }
    let Listing { photos: sources, failures } = listing;
    ensure!(
        sources.len() <= 1 || arguments.logits.is_none(),
        "--logits takes a single photo, {} are given; --save npy writes a file for each",
        sources.len()
    );
    arguments.frames.check_photos(sources.len() + failures.len())?;
    let model = arguments.model.open()?;
    let folder = model.folder();
    let preparation = Preparation::read(&model)?;
    let negatives = &arguments.combining.negative;
    let prompts = match &arguments.conditions {
        Some(file) => Prompts::of_file(file, &preparation, negatives)?,
        None => arguments.prompts.read(&preparation, &arguments.reading, negatives)?,
    };
    let results = arguments.combining.results(&prompts)?;
    let mut outcomes = Outcomes::new(sources.len() + failures.len(), arguments.json);
    for (path, error) in failures {
        outcomes.add(&path, Err(error))?;
    }
    let Some(first) = sources.first() else { return outcomes.finish() };
    // Open the first photo before anything else is loaded, so that a wrong name is reported at once.
    let first = photos::open(&first.path, arguments, &preparation.processor);
    let first = match first {
        Err(error) if sources.len() == 1 => {
            outcomes.add(&sources[0].path, Err(error))?;
            return outcomes.finish();
        }
        first => first,
    };
    let targets = Targets::prepare(arguments, &sources, folder)?;
    let names = arguments.names(&targets, &sources, &results.names);
    let mut data_set = match &targets.folder {
        None => DataSet::default(),
        Some(folder) => {
            let ignore_exif = arguments.reading.ignore_exif;
            DataSet::prepare(
                folder,
                &arguments.save,
                &results.names,
                &sources,
                arguments.simplify,
                ignore_exif,
            )?
        }
    };

    let mut stopwatch = Stopwatch::start();
    let device = arguments.adapter.open()?;
    let open = stopwatch.lap();
    model.download_weights()?;
    outcomes.count();
    stopwatch.lap();
    let progress = Progress::start();
    progress.step("loading the model");
    let model = preparation.load(&device)?;
    let load = open + stopwatch.lap();
    progress.step("encoding the prompts");
    let condition = prompts.encode(&model).with_context(|| folder.display().to_string())?;
    let seconds = Seconds { load, encode_prompts: stopwatch.lap(), ..Seconds::default() };
    let adapter = device.description();
    let (sources, names) = (&sources[..], &names);
    let work = Work {
        drawing: Drawing {
            arguments,
            prompts: &prompts,
            results: &results,
            targets: &targets,
            sources,
            names,
            adapter,
        },
        model: &model,
        folder,
        condition: &condition,
        smoother: arguments.frames.smoother()?,
        progress: &progress,
        estimate: Estimate::start(sources.len()),
        seconds,
    };
    let printed = work.run(first, &mut outcomes, &mut data_set);
    drop(progress);
    // Finish the data set after failures too: what was found is useful without the rest.
    let files = data_set.finish()?;
    printed?;
    if !arguments.json {
        output::print(&files.iter().map(|file| format!("wrote {}\n", file.display())).collect::<String>())?;
    }
    outcomes.finish()
}

impl Arguments {
    fn check_simplify(&self) -> Result<()> {
        let Self { simplify, save, .. } = self;
        ensure!(
            *simplify >= 0.0 && simplify.is_finite(),
            "--simplify {simplify}: must be a number of pixels, 0 or more"
        );
        let has_polygons = [Kind::Regions, Kind::Coco, Kind::Yolo].iter().any(|kind| save.contains(kind));
        ensure!(
            *simplify == 0.0 || has_polygons,
            "--simplify {simplify}: changes the polygons of regions files and data sets alone; add --save regions, \
             coco or yolo"
        );
        Ok(())
    }

    /// The files that the command reads: photos, prompt pictures and conditions.
    fn files_read<'a>(&'a self, sources: &'a [Source]) -> impl Iterator<Item = &'a Path> {
        sources
            .iter()
            .map(|source| source.path.as_path())
            .chain(self.prompts.files())
            .chain(self.conditions.as_deref())
    }

    /// What to call the results.
    fn names(&self, targets: &Targets, sources: &[Source], prompts: &[String]) -> Names {
        // Results must not lie among the pictures of a data set, whether it is of this run or an earlier one.
        let is_set = self.save.contains(&Kind::Yolo)
            || targets.folder.as_ref().is_some_and(|out| dataset::is_yolo(out.path()));
        let within = |folder| if is_set { dataset::renamed(folder) } else { Cow::Borrowed(folder) };
        let folders: Vec<_> = sources.iter().map(|source| within(source.folder.as_path())).collect();
        let photos = sources.iter().zip(&folders);
        let photos = photos.map(|(Source { path, .. }, folder)| names::Photo { file: path, folder });
        let endings = Kind::endings(&self.save);
        match &targets.folder {
            None => Names::choose(photos, prompts, &endings, |_, _| false),
            Some(out) => {
                let mut occupied = Occupied::new(out.path(), self.files_read(sources));
                Names::choose(photos, prompts, &endings, |folder, key| occupied.has(folder, key))
            }
        }
    }
}

impl Targets {
    /// Checks that everything that was asked for can be written.
    fn prepare(arguments: &Arguments, sources: &[Source], model: &Path) -> Result<Self> {
        let inputs = Inputs::new(model, arguments.files_read(sources));
        let logits = arguments.logits.as_deref().map(|path| output::File::prepare(path, "--logits", &inputs));
        let logits = logits.transpose()?;
        if let (Some(logits), Some(out)) = (&logits, &arguments.out) {
            let is_same = std::path::absolute(logits.path())? == std::path::absolute(out)?;
            ensure!(!is_same, "--logits {}: is the folder of --out; name a file in it", out.display());
        }
        let folder = arguments.out.as_deref().map(|path| output::Folder::prepare(path, "--out"));
        Ok(Self { folder: folder.transpose()?, logits })
    }
}

#[cfg(test)]
mod tests;
