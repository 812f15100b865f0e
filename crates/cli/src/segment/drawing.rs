//! Draws a photo's results from its logits: masks, probabilities, overlays.

use anyhow::Result;
use clipseg::masks::{LabelMap, Mask};
use clipseg::{Array, Photo, Segmentation};

use super::combining::Results;
use super::dataset::{Annotated, DataSet};
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
    pub results: &'a Results,
    pub targets: &'a Targets,
    pub sources: &'a [Source],
    pub names: &'a Names,
    pub adapter: &'a str,
}

/// What the model says of a photo.
pub struct Decoded {
    pub photo: Photo,
    /// Whether its file stores it upright.
    pub is_upright: bool,
    pub segmentation: Segmentation,
    /// The number of windows through which the photo was looked at.
    pub windows: usize,
    pub seconds: Seconds,
}

impl<'a> Drawing<'a> {
    /// Makes the masks of photo number `place` at its size, writes the files that are asked for, and adds the
    /// masks to the data set. Probabilities and masks are processed in the order that
    /// [`MaskOptions`](clipseg::masks::MaskOptions) documents.
    pub fn draw(&self, place: usize, decoded: Decoded, data_set: &mut DataSet<'_>) -> Result<Report<'a>> {
        let Self { arguments, prompts, results, targets, sources, names, adapter } = *self;
        let Decoded { photo, is_upright, segmentation, windows, seconds } = decoded;
        let path = PathText(sources[place].path.as_path());
        let (width, height) = (photo.width(), photo.height());
        let options = arguments.shaping.options();
        let (threshold, invert) = (options.threshold, options.invert);
        let settings = Settings {
            photo: path,
            width,
            height,
            threshold,
            invert,
            min_area: options.min_area,
            grow: options.grow,
        };
        let saves = targets.folder.as_ref().map(|folder| Saves {
            folder,
            kinds: &arguments.save,
            settings,
            simplify: arguments.simplify,
        });
        let has_labels = saves.is_some() && arguments.save.contains(&Kind::Labels);
        let mut label_map = has_labels.then(|| LabelMap::new(width, height)).transpose()?;
        // `answer` gives maps of the model's size, for the presence score. `drawn` gives maps of the photo's
        // size, one prompt at a time, as they may be large.
        let answer = |index: usize| Ok(segmentation.probability_map(index)?);
        let drawn = |index: usize| {
            let map = arguments.resolution.draw(&segmentation.prompt(index), &photo)?;
            Ok(map.probability_map(0)?)
        };
        let unwanted = results.negative(answer)?;
        let unwanted_drawn = results.negative(drawn)?;
        let mut found_of_all = Vec::with_capacity(results.names.len());
        let mut instances = Vec::new();
        for (index, name) in results.names.iter().enumerate() {
            let presence = results.map(index, unwanted.as_ref(), answer)?.presence();
            let map = results.map(index, unwanted_drawn.as_ref(), drawn)?;
            let mask = if presence >= arguments.shaping.min_presence {
                options.mask(&map)?
            } else {
                options.shape(Mask::new(width, height, vec![false; width * height])?)?
            };
            if let Some(label_map) = &mut label_map {
                label_map.add(&mask, map.values())?;
            }
            let score = |probability: f32| if invert { 1.0 - probability } else { probability };
            instances.extend(data_set.instances(index, &mask, &map, score)?);
            let soft = options.soft(&mask)?;
            let found = Found { index, prompt: name, probabilities: map.values(), mask: &mask, soft };
            let write = |saves: &Saves<'_>| saves.write(&names.prompt(place, index), &photo, &found);
            let files = saves.as_ref().map(write).transpose()?;
            let area = mask.area();
            let members = results.members(index);
            let of: Vec<_> = members.iter().map(|&member| prompts.labels[member].as_str()).collect();
            found_of_all.push(PromptResult {
                prompt: name,
                of: if of == [name] { Vec::new() } else { of },
                cut: prompts.is_any_cut(members),
                presence,
                peak_probability: map.peak(),
                area,
                area_percent: 100.0 * area as f64 / mask.pixels().len() as f64,
                bbox: mask.bounding_box().map(|found| found.to_array()),
                files,
            });
        }
        let labels = saves.as_ref().zip(label_map);
        let labels = labels.map(|(saves, map)| saves.write_labels(names.photo(place), &map, &results.names));
        let labels = labels.transpose()?;
        if let Some(file) = &targets.logits {
            // Without the logits of the negative prompts, which come last.
            let Array { shape, values } = segmentation.logits();
            let (count, pixels) = (prompts.labels.len(), shape[1] * shape[2]);
            file.write_tensor("logits", &[count, shape[1], shape[2]], &values[..count * pixels])?;
        }
        let logits = targets.logits.as_ref().map(output::File::path).map(PathText);
        // The data set comes last, so that it has no photo of which a file could not be written.
        let (source, name) = (&sources[place], names.photo(place));
        let annotated = Annotated { source, name, photo: &photo, is_upright, instances };
        let yolo = data_set.add(&annotated)?;
        Ok(Report {
            photo: path,
            width,
            height,
            adapter,
            threshold,
            windows,
            prompts: found_of_all,
            labels,
            yolo,
            logits,
            seconds,
        })
    }
}
