//! `scores.jsonl`: a line for each prompt, with its scores.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::scores::level;
use super::{Outcome, Thresholds};

/// The most bytes of a first line that is looked at.
const LONGEST: u64 = 1 << 20;

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    image: &'a str,
    prompt: &'a str,
    group: &'a str,
    class: &'a str,
    present: bool,
    presence: f32,
    threshold: f64,
    /// Null where the prompt's object is not there.
    foreground_iou: Option<f64>,
    falsely_marked: f64,
    /// The share of the photo that is marked.
    marked: f64,
}

/// What no file of others has in its first line.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether they are there matters")]
struct Mark {
    prompt: String,
    present: bool,
    falsely_marked: f64,
    marked: f64,
}

/// The lines of all prompts.
pub fn of(outcomes: &[Outcome], thresholds: Thresholds<usize>) -> Result<String> {
    let mut text = String::new();
    for outcome in outcomes {
        let threshold = thresholds.of(outcome);
        let pixels = outcome.counts.at(threshold);
        text += &serde_json::to_string(&Line {
            image: &outcome.photo,
            prompt: &outcome.prompt,
            group: &outcome.group,
            class: &outcome.class,
            present: outcome.is_present,
            presence: outcome.presence,
            threshold: level(threshold),
            foreground_iou: outcome.is_present.then(|| pixels.foreground_iou()),
            falsely_marked: pixels.falsely_marked(),
            marked: pixels.marked(),
        })?;
        text.push('\n');
    }
    Ok(text)
}

/// Whether a file has such lines, and so was written by an earlier run.
pub fn is_ours(path: &Path) -> bool {
    let Ok(file) = clipseg_files::open(path) else { return false };
    let mut line = Vec::new();
    let read = BufReader::new(file).take(LONGEST).read_until(b'\n', &mut line);
    read.is_ok() && serde_json::from_slice::<Mark>(&line).is_ok()
}
