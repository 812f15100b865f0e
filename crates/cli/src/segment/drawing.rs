//! From logits to files.

use anyhow::Result;
use clipseg::masks::{Connectivity, LabelMap};
use clipseg::{Photo, Segmentation};

use super::photos::Source;
use super::report::{PromptResult, Report, Seconds};
use super::saves::{Found, Kind, Saves};
use super::settings::Settings;
use super::{Arguments, Targets};
use crate::names::Names;
use crate::output;
use crate::paths::PathText;
use crate::prompts::Prompts;

/// What it takes to draw the results of any photo.
pub struct Drawing<'a> {
    pub arguments: &'a Arguments,
    pub prompts: &'a Prompts,
    pub targets: &'a Targets,
    pub sources: &'a [Source],
    pub names: &'a Names,
    pub adapter: &'a str,
}

/// What the model says of a photo.
pub struct Decoded {
    pub photo: Photo,
    pub segmentation: Segmentation,
    /// Parts in which it was looked at.
    pub windows: usize,
    pub seconds: Seconds,
}

impl<'a> Drawing<'a> {
    /// Makes masks at the size of photo number `place` and writes what is wanted of them.
    pub fn draw(&self, place: usize, decoded: Decoded) -> Result<Report<'a>> {
        let Self { arguments, prompts, targets, sources, names, adapter } = *self;
        let Decoded { photo, segmentation, windows, seconds } = decoded;
        let path = PathText(sources[place].path.as_path());
        let (width, height) = (photo.width(), photo.height());
        let (threshold, min_area) = (arguments.threshold, arguments.min_area);
        let saves = targets.folder.as_ref().map(|folder| Saves {
            folder,
            kinds: &arguments.save,
            settings: Settings { photo: path, width, height, threshold, min_area },
            simplify: arguments.simplify,
        });
        let mut results = Vec::with_capacity(prompts.labels.len());
        let has_labels = saves.is_some() && arguments.save.contains(&Kind::Labels);
        let mut label_map = has_labels.then(|| LabelMap::new(width, height)).transpose()?;
        for (index, prompt) in prompts.labels.iter().enumerate() {
            // A prompt at a time: maps of the photo's size may be large.
            let map = arguments.resolution.draw(&segmentation.prompt(index), &photo)?;
            let probabilities = map.probabilities(0);
            let mut mask = map.binary_mask(0, threshold)?;
            drop(map);
            if min_area > 1 {
                mask = mask.without_small(min_area, Connectivity::Eight);
            }
            if let Some(label_map) = &mut label_map {
                label_map.add(&mask, &probabilities)?;
            }
            let found = Found { index, prompt, probabilities: &probabilities, mask: &mask };
            let write = |saves: &Saves<'_>| saves.write(&names.prompt(place, index), &photo, &found);
            let files = saves.as_ref().map(write).transpose()?;
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
        let labels = saves.as_ref().zip(label_map);
        let labels = labels.map(|(saves, map)| saves.write_labels(names.photo(place), &map, &prompts.labels));
        let labels = labels.transpose()?;
        if let Some(file) = &targets.logits {
            let logits = segmentation.logits();
            file.write_tensor("logits", &logits.shape, &logits.values)?;
        }
        let logits = targets.logits.as_ref().map(output::File::path).map(PathText);
        Ok(Report {
            photo: path,
            width,
            height,
            adapter,
            threshold,
            windows,
            prompts: results,
            labels,
            logits,
            seconds,
        })
    }
}
