//! What `segment --save` writes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use clipseg::Photo;
use clipseg::masks::{LabelMap, Mask};
use serde::Serialize;

use super::legend::Legend;
use super::regions::Regions;
use super::settings::Settings;
use crate::{npy, output, pictures};

/// One kind of file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// NAME-probability.png: the probability as grey, 0 to 255
    Probability,
    /// NAME-mask.png: what reaches the threshold, white on black
    Mask,
    /// NAME-overlay.png: the photo with the mask in colour
    Overlay,
    /// NAME-probability16.png: the probability as 16-bit grey, 0 to 65535
    Probability16,
    /// NAME-probability.npy: the probability as it is, f32 [height, width], for numpy.load
    Npy,
    /// NAME-regions.json: area, box and run lengths (COCO's RLE) of the mask; of each connected part area, box, outer
    /// polygon and holes, [x, y, x, y, ...] in corners of pixels
    Regions,
    /// PHOTO-labels.png: the most probable prompt of each pixel, 1 for the first, 0 where none reaches the threshold
    /// (8-bit with a palette; 16-bit grey for more than 255 prompts); PHOTO-labels.json: which prompt is which
    Labels,
}

/// The files of one prompt.
pub type Files = BTreeMap<Kind, PathBuf>;

/// The files of all prompts together.
#[derive(Serialize)]
pub struct LabelFiles {
    pub map: PathBuf,
    pub legend: PathBuf,
}

/// What was found of one prompt.
pub struct Found<'a> {
    /// Its position among the prompts.
    pub index: usize,
    pub prompt: &'a str,
    /// `[height, width]`
    pub probabilities: &'a [f32],
    pub mask: &'a Mask,
}

/// A folder and the kinds of files that are wanted there.
pub struct Saves<'a> {
    pub folder: &'a output::Folder,
    pub kinds: &'a [Kind],
    pub settings: Settings<'a>,
    /// How far polygons may leave the pixels' edges, in pixels.
    pub simplify: f64,
}

impl Saves<'_> {
    /// Writes the files of one prompt, whose names start with `name`.
    pub fn write(&self, name: &str, photo: &Photo, found: &Found) -> Result<Files> {
        let Found { probabilities, mask, .. } = *found;
        let png = |kind: &str, bytes: Vec<u8>| self.folder.write(&format!("{name}-{kind}.png"), &bytes);
        let write = |&kind: &Kind| {
            let path = match kind {
                Kind::Probability => png("probability", pictures::probability_png(probabilities, photo)?)?,
                Kind::Mask => png("mask", pictures::mask_png(mask.pixels(), photo)?)?,
                Kind::Overlay => png("overlay", pictures::overlay_png(mask.pixels(), photo, found.index)?)?,
                Kind::Probability16 => {
                    png("probability16", pictures::probability16_png(probabilities, photo)?)?
                }
                Kind::Npy => self.folder.write_with(&format!("{name}-probability.npy"), |file| {
                    npy::write(file, mask.height(), mask.width(), probabilities)
                })?,
                Kind::Regions => {
                    let regions = Regions::of(mask, found.prompt, self.settings, self.simplify);
                    self.write_json(&format!("{name}-regions.json"), &regions)?
                }
                Kind::Labels => return Ok(None),
            };
            Ok(Some((kind, path)))
        };
        self.kinds.iter().filter_map(|kind| write(kind).transpose()).collect()
    }

    /// Writes the label map of all prompts, to files whose names start with `name`.
    pub fn write_labels(
        &self,
        name: &str,
        photo: &Photo,
        map: &LabelMap,
        prompts: &[String],
    ) -> Result<LabelFiles> {
        let legend = Legend::of(map, prompts, self.settings);
        Ok(LabelFiles {
            map: self.folder.write(&format!("{name}-labels.png"), &pictures::labels_png(map, photo)?)?,
            legend: self.write_json(&format!("{name}-labels.json"), &legend)?,
        })
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<PathBuf> {
        self.folder.write_with(name, |file| {
            serde_json::to_writer(&mut *file, value)?;
            file.write_all(b"\n")
        })
    }
}
