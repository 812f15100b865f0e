//! What `segment --save` writes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;
use clipseg::Photo;
use clipseg::masks::{LabelMap, Mask};
use serde::Serialize;

use super::legend::Legend;
use super::regions::Regions;
use super::settings::Settings;
use crate::names::{Endings, with_ending};
use crate::paths::PathText;
use crate::{npy, output, pictures};

/// One kind of file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// NAME-probability.png: the probability as grey, 0 to 255
    Probability,
    /// NAME-mask.png: what reaches the threshold, white on black; grey along the edge with --feather
    Mask,
    /// NAME-overlay.png: the photo with the mask in colour
    Overlay,
    /// NAME-probability16.png: the probability as 16-bit grey, 0 to 65535
    Probability16,
    /// NAME-probability.npy: the probability as it is, f32 [height, width], for numpy.load
    Npy,
    /// NAME-regions.json: area, box and run lengths (COCO's RLE) of the mask; of each connected part area,
    /// box, outer polygon and holes, [x, y, x, y, ...] in corners of pixels
    Regions,
    /// PHOTO-labels.png: the most probable prompt of each pixel, 1 for the first, 0 where none reaches the
    /// threshold (8-bit with a palette; 16-bit grey for more than 255 prompts); PHOTO-labels.json: which
    /// prompt is which
    Labels,
    /// annotations.json: the connected parts in all photos as a data set in COCO's form. Those with holes as
    /// run lengths, the others as polygons; categories are the prompts or their classes; "score" is the mean
    /// probability; file names start from the folder that all photos lie in, "photos" in its "info"; sizes
    /// and places are those of photos turned upright. Until all photos of an earlier file are in it again it
    /// is called annotations.partial.json
    Coco,
    /// labels/PHOTO.txt, images/PHOTO.*, data.yaml: the same in YOLO's form (ultralytics' segmentation), with
    /// copies of the photos. Holes are filled, as that form cannot express them.
    Yolo,
}

/// By this ending photos are told apart that have no file of their own otherwise.
const YOLO_ENDING: &str = "labels.txt";

/// What the name of a label map ends with, and that of its legend.
const MAP_ENDING: &str = "labels.png";
const LEGEND_ENDING: &str = "labels.json";

impl Kind {
    /// What the names of such files end with, after a dash; nothing for what is of all prompts together.
    fn ending(self) -> Option<&'static str> {
        match self {
            Self::Probability => Some("probability.png"),
            Self::Mask => Some("mask.png"),
            Self::Overlay => Some("overlay.png"),
            Self::Probability16 => Some("probability16.png"),
            Self::Npy => Some("probability.npy"),
            Self::Regions => Some("regions.json"),
            Self::Labels | Self::Coco | Self::Yolo => None,
        }
    }

    /// Whether files of this kind are of all photos together.
    pub fn is_data_set(self) -> bool {
        matches!(self, Self::Coco | Self::Yolo)
    }

    /// What the names of all files of these kinds end with.
    pub fn endings(kinds: &[Self]) -> Endings {
        let mut photo = Vec::new();
        if kinds.contains(&Self::Labels) {
            photo.extend([MAP_ENDING, LEGEND_ENDING]);
        }
        if kinds.contains(&Self::Yolo) {
            photo.push(YOLO_ENDING);
        }
        let prompt = kinds.iter().filter_map(|kind| kind.ending()).collect();
        Endings { prompt, photo, has_bare: kinds.contains(&Self::Yolo) }
    }
}

/// The files of one prompt.
pub type Files = BTreeMap<Kind, PathText<PathBuf>>;

/// The files of all prompts together.
#[derive(Serialize)]
pub struct LabelFiles {
    pub map: PathText<PathBuf>,
    pub legend: PathText<PathBuf>,
}

/// What was found of one prompt, or of several that make one result.
pub struct Found<'a> {
    /// Its position among the results.
    pub index: usize,
    pub prompt: &'a str,
    /// `[height, width]`
    pub probabilities: &'a [f32],
    pub mask: &'a Mask,
    /// The mask with a soft edge, where that is asked for.
    pub soft: Option<Vec<f32>>,
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
    pub fn write(&self, name: &Path, photo: &Photo, found: &Found) -> Result<Files> {
        let Found { probabilities, mask, .. } = found;
        let mut files = Files::new();
        for &kind in self.kinds {
            let Some(ending) = kind.ending() else { continue };
            let file = with_ending(name, ending);
            let picture = |bytes: Vec<u8>| self.folder.write(&file, &bytes).map(PathText);
            let path = match kind {
                Kind::Probability => picture(pictures::probability_png(probabilities, photo)?)?,
                Kind::Mask => match &found.soft {
                    None => picture(pictures::mask_png(mask.pixels(), photo)?)?,
                    Some(soft) => picture(pictures::probability_png(soft, photo)?)?,
                },
                Kind::Overlay => picture(pictures::overlay_png(mask, photo, found.index)?)?,
                Kind::Probability16 => picture(pictures::probability16_png(probabilities, photo)?)?,
                Kind::Npy => {
                    let write = |file: &mut _| npy::write(file, mask.height(), mask.width(), probabilities);
                    PathText(self.folder.write_with(&file, write)?)
                }
                Kind::Regions => {
                    let regions = Regions::of(mask, found.prompt, self.settings, self.simplify);
                    self.write_json(&file, &regions)?
                }
                Kind::Labels | Kind::Coco | Kind::Yolo => continue,
            };
            files.insert(kind, path);
        }
        Ok(files)
    }

    /// Writes the label map of all prompts, to files whose names start with `name`.
    pub fn write_labels(&self, name: &Path, map: &LabelMap, prompts: &[String]) -> Result<LabelFiles> {
        let picture = pictures::labels_png(map)?;
        Ok(LabelFiles {
            map: PathText(self.folder.write(with_ending(name, MAP_ENDING), &picture)?),
            legend: self
                .write_json(&with_ending(name, LEGEND_ENDING), &Legend::of(map, prompts, self.settings))?,
        })
    }

    fn write_json(&self, name: &Path, value: &impl Serialize) -> Result<PathText<PathBuf>> {
        let path = self.folder.write_with(name, |file| {
            serde_json::to_writer(&mut *file, value)?;
            file.write_all(b"\n")
        })?;
        Ok(PathText(path))
    }
}
