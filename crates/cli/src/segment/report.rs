//! The report on one photo.

use std::path::Path;

use serde::Serialize;

use super::dataset::YoloFiles;
use super::saves::{Files, LabelFiles};
use crate::paths::PathText;
use crate::table::{self, Align};

/// What the command prints about a photo.
#[derive(Serialize)]
pub struct Report<'a> {
    pub photo: PathText<&'a Path>,
    pub width: usize,
    pub height: usize,
    pub adapter: &'a str,
    pub threshold: f32,
    /// The number of windows through which the photo was looked at.
    pub windows: usize,
    pub prompts: Vec<PromptResult<'a>>,
    pub labels: Option<LabelFiles>,
    /// The photo's files in a data set of YOLO's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yolo: Option<YoloFiles>,
    pub logits: Option<PathText<&'a Path>>,
    pub seconds: Seconds,
}

/// What the command prints about a photo that could not be segmented.
#[derive(Serialize)]
pub struct Failure<'a> {
    pub photo: PathText<&'a Path>,
    pub error: String,
}

/// The result of one prompt, or of several prompts that make one result.
#[derive(Serialize)]
pub struct PromptResult<'a> {
    /// The prompt, the class, or all prompts that the result is of.
    pub prompt: &'a str,
    /// The prompts that the result was made of, if there are several or their name is not that of the result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<&'a str>,
    /// Whether the prompt was longer than the model reads; null where its file of conditions does not say so.
    pub cut: Option<bool>,
    /// How sure the model is that the object is in the photo at all, 0 to 1: the mean of its answer's largest
    /// probabilities.
    pub presence: f32,
    /// The largest probability in the photo.
    pub peak_probability: f32,
    /// Pixels of the mask.
    pub area: usize,
    /// How much of the photo the mask covers.
    pub area_percent: f64,
    /// `[x, y, width, height]` of the box around the mask; null where it is empty.
    pub bbox: Option<[u32; 4]>,
    pub files: Option<Files>,
}

/// How long the steps took. With several photos, the time of `load` and `encode_prompts` is spent once,
/// though each photo's report has it.
#[derive(Clone, Copy, Default, Serialize)]
pub struct Seconds {
    pub load: f64,
    pub encode_image: f64,
    pub encode_prompts: f64,
    pub decode: f64,
}

impl Report<'_> {
    /// A table of the prompts, and the files.
    pub fn to_text(&self) -> String {
        let header = ["prompt", "presence", "peak probability", "area"].map(str::to_owned);
        let rows = self.prompts.iter().map(|result| {
            let prompt = result.prompt.split_whitespace().collect::<Vec<_>>().join(" ");
            let [presence, peak] =
                [result.presence, result.peak_probability].map(|value| format!("{value:.4}"));
            [prompt, presence, peak, format!("{:.2} %", result.area_percent)]
        });
        let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
        let mut text = table::render([Align::Left, Align::Right, Align::Right, Align::Right], &rows);
        let files = self.prompts.iter().filter_map(|result| result.files.as_ref()).flat_map(Files::values);
        let labels = self.labels.iter().flat_map(|LabelFiles { map, legend }| [map, legend]);
        let yolo = self.yolo.iter().flat_map(|YoloFiles { image, labels }| [image, labels]);
        let files = files
            .chain(labels)
            .chain(yolo)
            .map(|path| path.0.as_path())
            .chain(self.logits.map(|path| path.0));
        for path in files {
            text += &format!("wrote {}\n", PathText(path).printable());
        }
        text
    }
}
