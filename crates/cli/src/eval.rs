//! `clipseg eval`.

mod data;
mod example;
pub(crate) mod folder;
mod lines;
mod predictor;
mod presence;
mod scores;
mod sheet;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use clipseg_files::shown;
use serde::Serialize;

use self::data::{Data, DataArgument};
use self::predictor::Predictor;
use self::presence::{Judged, Presence, Separation};
use self::scores::{Class, Counts, GroupScores, Scores, level};
use self::sheet::Sheet;
use crate::inputs::{AdapterArguments, Preparation};
use crate::model::ModelArguments;
use crate::output::{self, Inputs};
use crate::pictures;
use crate::progress::Bar;
use crate::report;
use crate::resolution::ResolutionArguments;
use crate::stop;
use crate::table::{self, Align};

/// Score a model on pictures whose masks are known.
///
/// Prints the scores of the paper: foreground IoU, binary IoU, mean IoU over classes and average
/// precision, each summed over the data set before dividing, for prompts in words and in pictures;
/// how much is marked for what is not there; and how well the presence score, which `clipseg segment`
/// reports, tells what is there from what is not: --min-presence takes the value under "(from)".
///
/// A data folder holds images/, masks/ (grey pictures of 8 bits: 255 where the object is, 0 elsewhere)
/// and prompts.jsonl, a line for each prompt, whose mask is null where the object is not there:
///   {"image": "1.png", "text": "a red circle", "mask": "1-circle.png"}
///   {"image": "1.png", "text": "a blue cat", "mask": null}
///   {"image": "1.png", "prompt_image": "2.png", "prompt_mask": "2-star.png", "mask": "1-star.png"}
/// "group" and "class", if given, name prompts that are scored together and that mean the same.
#[derive(Args)]
#[command(after_help = EXAMPLES, verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// What to score on: a folder, or shapes:SEED:COUNT for generated scenes.
    #[arg(long, value_name = "DIR|shapes:SEED:COUNT")]
    data: DataArgument,
    /// Choose the thresholds of probability and presence, for words and for pictures, that are best on this
    /// other data.
    #[arg(long, value_name = "DIR|shapes:SEED:COUNT", conflicts_with = "threshold")]
    tune: Option<DataArgument>,
    /// Probability, 0 to 1 in hundredths, from which a pixel is marked.
    #[arg(long, default_value_t = 0.5, allow_negative_numbers = true)]
    threshold: f64,
    /// Folder for best.png and worst.png (photo, prompt, expected, found) and scores.jsonl, a line for each
    /// prompt. Files of these names are replaced only where an earlier run wrote them.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    resolution: ResolutionArguments,
    #[command(flatten)]
    adapter: AdapterArguments,
    /// Print JSON rather than tables.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  clipseg eval --model fixtures/models/clipseg-shapes --data shapes:3:1000 --tune shapes:2:200 --out scores
  clipseg eval --model clipseg-rd64-refined --data my-photos --threshold 0.3 --json";

/// The files that are written to the output folder.
const LINES: &str = "scores.jsonl";
const BEST: &str = "best.png";
const WORST: &str = "worst.png";
/// Prompts in each of the pictures.
const SHOWN: usize = 6;

/// What the command prints.
#[derive(Serialize)]
struct Report {
    data: String,
    adapter: String,
    thresholds: Thresholds<f64>,
    groups: BTreeMap<String, Group>,
    presence: Presence,
    #[serde(skip)]
    extremes: [Vec<String>; 2],
    #[serde(skip)]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Group {
    prompts: usize,
    /// Absent where no prompt's object is there.
    #[serde(flatten)]
    scores: Option<GroupScores>,
    /// The share of unwanted pixels that are marked.
    falsely_marked: f64,
}

#[derive(Clone, Copy, Serialize)]
struct Thresholds<T> {
    text: T,
    image: T,
}

/// One prompt's result.
struct Outcome {
    example: usize,
    query: usize,
    photo: String,
    prompt: String,
    is_text: bool,
    is_present: bool,
    group: String,
    class: String,
    presence: f32,
    counts: Counts,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let threshold = hundredths(arguments.threshold).with_context(|| {
        format!("--threshold {}: must be one of the hundredths 0, 0.01, 0.02, … 1", arguments.threshold)
    })?;
    arguments.resolution.check()?;
    let model = arguments.model.open()?;
    let preparation = Preparation::read(&model)?;
    let data = Data::open(&arguments.data).context("--data")?;
    data.check_words(&preparation.tokenizer).context("--data")?;
    let tune = arguments.tune.as_ref().map(|tune| Data::open(tune).context("--tune")).transpose()?;
    if let Some(tune) = &tune {
        tune.check_words(&preparation.tokenizer).context("--tune")?;
    }
    let folder = arguments.out.as_deref().map(|path| output::Folder::prepare(path, "--out")).transpose()?;
    if let Some(folder) = &folder {
        let read: Vec<_> = data.files().into_iter().chain(tune.iter().flat_map(Data::files)).collect();
        let inputs = Inputs::new(model.folder(), read.iter().map(PathBuf::as_path));
        folder.check(LINES, "--out", &inputs, lines::is_ours)?;
        for name in [BEST, WORST] {
            folder.check(name, "--out", &inputs, pictures::is_ours)?;
        }
    }
    let device = arguments.adapter.open()?;
    model.download_weights()?;
    let predictor = Predictor { model: preparation.load(&device)?, resolution: &arguments.resolution };

    let tune = tune.map(|tune| outcomes(&predictor, &tune, "choosing thresholds").context("--tune"));
    let tune = tune.transpose()?;
    let tuned = tune.as_deref().map(best_thresholds);
    let or_given = |best: Option<usize>| best.unwrap_or(threshold);
    let thresholds = Thresholds {
        text: or_given(tuned.and_then(|tuned| tuned.text)),
        image: or_given(tuned.and_then(|tuned| tuned.image)),
    };
    let outcomes = outcomes(&predictor, &data, "scoring").context("--data")?;
    if let Some(Thresholds { text, image }) = tuned {
        for (best, is_text, kind) in [(text, true, "words"), (image, false, "pictures")] {
            if best.is_none() && outcomes.iter().any(|outcome| outcome.is_text == is_text) {
                report::warning(format!(
                    "--tune: tells nothing of prompts that are {kind}; their threshold stays {:.2}",
                    level(threshold)
                ));
            }
        }
    }
    let mut report = Report {
        data: arguments.data.to_string(),
        adapter: device.description().to_owned(),
        thresholds: Thresholds { text: level(thresholds.text), image: level(thresholds.image) },
        groups: groups(&outcomes, thresholds),
        presence: Presence {
            tuned_on: arguments.tune.as_ref().unwrap_or(&arguments.data).to_string(),
            text: separation(&outcomes, tune.as_deref(), true),
            image: separation(&outcomes, tune.as_deref(), false),
        },
        extremes: Default::default(),
        files: Vec::new(),
    };
    if let Some(folder) = &folder {
        report.files.push(folder.write(LINES, lines::of(&outcomes, thresholds)?.as_bytes())?);
        let present = ranked(&outcomes, thresholds);
        let best = present.iter().rev().take(SHOWN);
        let worst = present.iter().take(SHOWN);
        let picks: [(&str, Vec<&Outcome>); 2] =
            [(BEST, best.copied().collect()), (WORST, worst.copied().collect())];
        for (place, (name, picks)) in picks.into_iter().enumerate() {
            report.files.push(folder.write(name, &sheet(&predictor, &data, &picks, thresholds)?)?);
            let caption = |outcome: &&Outcome| {
                let iou = outcome.counts.at(thresholds.of(outcome)).foreground_iou();
                format!("{iou:.3}  {}  {}", shown(&outcome.photo), shown(&outcome.prompt))
            };
            report.extremes[place] = picks.iter().map(caption).collect();
        }
    }
    if arguments.json { output::print_json(&report) } else { output::print(&report.to_text()) }
}

/// A threshold in hundredths, if it is a whole number of them and at most 100.
fn hundredths(threshold: f64) -> Option<usize> {
    let hundredths = (100.0 * threshold).round() as usize;
    (hundredths <= 100 && level(hundredths) == threshold).then_some(hundredths)
}

impl Thresholds<usize> {
    fn of(self, outcome: &Outcome) -> usize {
        if outcome.is_text { self.text } else { self.image }
    }
}

/// Predicts all prompts and counts the pixels of each.
fn outcomes(predictor: &Predictor, data: &Data, what: &str) -> Result<Vec<Outcome>> {
    let bar = Bar::start(data.len() as u64, what);
    stop::count(0, data.len() as u64, "photos");
    let mut outcomes = Vec::new();
    for index in 0..data.len() {
        let example = data.example(index)?;
        let segmentation = predictor.predict(&example)?;
        for (place, query) in example.queries.iter().enumerate() {
            let map = predictor.draw(&segmentation, place, &example.photo);
            let map = map.with_context(|| query.place.clone())?;
            outcomes.push(Outcome {
                example: index,
                query: place,
                photo: example.name.clone(),
                prompt: query.prompt.name().to_owned(),
                is_text: query.prompt.is_text(),
                is_present: query.is_present(),
                group: query.group.clone(),
                class: query.class.clone(),
                presence: segmentation.presence(place)?,
                counts: Counts::of(&map.probabilities(0), &query.mask),
            });
        }
        bar.advance();
        stop::advance();
    }
    Ok(outcomes)
}

/// The thresholds that are best for these; none for a kind of prompt whose masks are right nowhere at any
/// threshold, as where there is no such prompt.
fn best_thresholds(outcomes: &[Outcome]) -> Thresholds<Option<usize>> {
    let best = |is_text: bool| {
        let present = outcomes.iter().filter(|outcome| outcome.is_text == is_text && outcome.is_present);
        let sum = Counts::sum(present.map(|outcome| &outcome.counts));
        let best = sum.best_threshold();
        (sum.at(best).foreground_iou() > 0.0).then_some(best)
    };
    Thresholds { text: best(true), image: best(false) }
}

fn separation(outcomes: &[Outcome], tune: Option<&[Outcome]>, is_text: bool) -> Separation {
    let judged = |outcomes: &[Outcome]| -> Vec<_> {
        let outcomes = outcomes.iter().filter(|outcome| outcome.is_text == is_text);
        let judged =
            |outcome: &Outcome| Judged { presence: outcome.presence, is_present: outcome.is_present };
        outcomes.map(judged).collect()
    };
    Separation::of(&judged(outcomes), &judged(tune.unwrap_or(outcomes)))
}

fn groups(outcomes: &[Outcome], thresholds: Thresholds<usize>) -> BTreeMap<String, Group> {
    let mut members: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        members.entry(&outcome.group).or_default().push(outcome);
    }
    let group = |members: &[&Outcome]| {
        let mut classes: BTreeMap<&str, Class> = BTreeMap::new();
        for outcome in members {
            classes.entry(&outcome.class).or_default().add(&outcome.counts, thresholds.of(outcome));
        }
        let classes: Vec<_> = classes.into_values().collect();
        let first = thresholds.of(members[0]);
        let threshold = members.iter().all(|outcome| thresholds.of(outcome) == first).then_some(first);
        Group {
            prompts: members.len(),
            scores: members
                .iter()
                .any(|outcome| outcome.is_present)
                .then(|| GroupScores::new(&classes, threshold)),
            falsely_marked: Class::chosen(&classes).falsely_marked(),
        }
    };
    members.into_iter().map(|(name, members)| (name.to_owned(), group(&members))).collect()
}

/// The prompts whose object is there, worst first.
fn ranked(outcomes: &[Outcome], thresholds: Thresholds<usize>) -> Vec<&Outcome> {
    let iou = |outcome: &Outcome| outcome.counts.at(thresholds.of(outcome)).foreground_iou();
    let mut present: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_present).collect();
    present.sort_by(|a, b| iou(a).total_cmp(&iou(b)));
    present
}

/// Predicts these prompts once more and draws them.
fn sheet(
    predictor: &Predictor,
    data: &Data,
    picks: &[&Outcome],
    thresholds: Thresholds<usize>,
) -> Result<Vec<u8>> {
    let mut sheet = Sheet::new();
    for outcome in picks {
        let example = data.example(outcome.example)?;
        let segmentation = predictor.predict(&example)?;
        let map = predictor.draw(&segmentation, outcome.query, &example.photo)?;
        let mask = map.mask(0, level(thresholds.of(outcome)) as f32);
        sheet.add(&example, &example.queries[outcome.query], &mask)?;
    }
    sheet.png()
}

impl Report {
    fn to_text(&self) -> String {
        let Thresholds { text, image } = self.thresholds;
        let mut report = format!(
            "{} on {}\nthresholds: {text:.2} for words, {image:.2} for pictures\n\n",
            self.data, self.adapter
        );
        report += &self.score_table();
        report += "\nforeground IoU at\n";
        report += &self.threshold_table();
        report += &format!("\npresence, its thresholds chosen on {}\n", self.presence.tuned_on);
        report += &self.presence.table();
        for (title, captions) in ["\nbest\n", "\nworst\n"].iter().zip(&self.extremes) {
            if !captions.is_empty() {
                report += title;
                report += &(captions.join("\n") + "\n");
            }
        }
        for path in &self.files {
            report += &format!("wrote {}\n", path.display());
        }
        report
    }

    fn score_table(&self) -> String {
        let header = ["prompts", "count", "foreground IoU", "binary IoU", "mean IoU", "AP", "falsely marked"];
        let rows = self.groups.iter().map(|(name, group)| {
            let score = |of: fn(&Scores) -> f64| {
                group.scores.as_ref().map_or("–".to_owned(), |scores| format!("{:.3}", of(&scores.chosen)))
            };
            let precision = group
                .scores
                .as_ref()
                .map_or("–".to_owned(), |scores| format!("{:.3}", scores.average_precision));
            [
                name.clone(),
                group.prompts.to_string(),
                score(|scores| scores.foreground_iou),
                score(|scores| scores.binary_iou),
                score(|scores| scores.mean_iou),
                precision,
                format!("{:.2} %", 100.0 * group.falsely_marked),
            ]
        });
        let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
        let mut columns = [Align::Right; 7];
        columns[0] = Align::Left;
        table::render(columns, &rows)
    }

    fn threshold_table(&self) -> String {
        let header = ["prompts", "0.1", "0.2", "0.3", "0.4", "0.5", "best", "(at)"];
        let rows = self.groups.iter().filter_map(|(name, group)| {
            let scores = group.scores.as_ref()?;
            let mut cells = vec![name.clone()];
            cells
                .extend(scores.at.iter().chain([&scores.best]).map(|at| format!("{:.3}", at.foreground_iou)));
            cells.push(format!("{:.2}", scores.best.threshold?));
            <[String; 8]>::try_from(cells).ok()
        });
        let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
        let mut columns = [Align::Right; 8];
        columns[0] = Align::Left;
        table::render(columns, &rows)
    }
}
