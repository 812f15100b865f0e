//! Collects what is found in all photos into one data set, to train other models with.

mod coco;
mod yolo;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use clipseg::Photo;
use clipseg::masks::{Component, Connectivity, Contour, Mask, ProbabilityMap, RunLengths};
use clipseg_files::shown;

use self::coco::Coco;
use self::yolo::Yolo;
pub use self::yolo::{YoloFiles, holds_copies, is_ours as is_yolo, renamed};
use super::photos::Source;
use super::saves::Kind;
use crate::{output, report, stop};

/// The data sets that are asked for, by default none.
#[derive(Default)]
pub struct DataSet<'a> {
    /// Shared with what is done when the run is asked to stop.
    coco: Option<Arc<Mutex<Coco>>>,
    yolo: Option<Yolo<'a>>,
    simplify: f64,
    ignore_exif: bool,
    /// Photos that were turned upright.
    turned: usize,
    /// Instances with holes, which YOLO's format fills.
    filled: usize,
}

/// One connected part of a mask, which data sets take for one object.
pub struct Instance {
    /// The position of its class.
    class: usize,
    component: Component,
    /// The mean probability of its pixels.
    score: f32,
    contour: Contour,
    /// For COCO, where the part has holes, which a polygon cannot describe.
    run_lengths: Option<RunLengths>,
}

/// A photo whose instances are known.
pub struct Annotated<'a> {
    pub source: &'a Source,
    /// The photo's name in the data set, which no other photo has.
    pub name: &'a Path,
    pub photo: &'a Photo,
    /// Whether the photo's file stores its pixels upright, so that all readers see the same picture.
    pub is_upright: bool,
    pub instances: Vec<Instance>,
}

impl<'a> DataSet<'a> {
    /// Prepares the data sets among `saves` for these classes and photos. Polygons deviate from the pixels'
    /// edges by `simplify` pixels at most. With `ignore_exif`, photos are not turned upright.
    pub fn prepare(
        folder: &'a output::Folder,
        saves: &[Kind],
        classes: &[String],
        photos: &[Source],
        simplify: f64,
        ignore_exif: bool,
    ) -> Result<Self> {
        let coco = saves.contains(&Kind::Coco).then(|| Coco::new(folder, classes, photos)).transpose()?;
        let coco = coco.map(|coco| Arc::new(Mutex::new(coco)));
        if let Some(coco) = &coco {
            let coco = Arc::clone(coco);
            stop::before_the_end(move || finish_at_once(&coco));
        }
        let yolo = saves
            .contains(&Kind::Yolo)
            .then(|| Yolo::prepare(folder, classes, photos, ignore_exif))
            .transpose()?;
        Ok(Self { coco, yolo, simplify, ignore_exif, turned: 0, filled: 0 })
    }

    /// The instances of class number `class`; none where no data set is asked for. `score` turns the model's
    /// probability of a pixel into the probability that the pixel belongs to the mask.
    pub fn instances(
        &self,
        class: usize,
        mask: &Mask,
        probabilities: &ProbabilityMap,
        score: impl Fn(f32) -> f32,
    ) -> Result<Vec<Instance>> {
        if self.coco.is_none() && self.yolo.is_none() {
            return Ok(Vec::new());
        }
        let components = mask.components(Connectivity::Eight);
        let contours = mask.contours(Connectivity::Eight);
        let means = components.means(probabilities.values())?;
        let has_holes = contours.iter().any(|contour| !contour.holes.is_empty());
        let mut run_lengths =
            if self.coco.is_some() && has_holes { components.run_lengths() } else { Vec::new() }
                .into_iter()
                .map(Some);
        let parts = components.list().iter().zip(contours).zip(means);
        Ok(parts
            .map(|((&component, contour), mean)| {
                let run_lengths = run_lengths.next().flatten().filter(|_| !contour.holes.is_empty());
                let contour = contour.simplified(self.simplify);
                Instance { class, component, score: score(mean), contour, run_lengths }
            })
            .collect())
    }

    /// Adds a photo, and gives its files in YOLO's format where these are asked for.
    pub fn add(&mut self, annotated: &Annotated<'_>) -> Result<Option<YoloFiles>> {
        let files = self.yolo.as_mut().map(|yolo| yolo.add(annotated)).transpose()?;
        if let Some(coco) = &self.coco {
            locked(coco).add(annotated)?;
            // TIFFs are turned whatever was asked for, as Pillow turns them.
            let is_turned = || !self.ignore_exif || has_content_of(&annotated.source.path, "tif");
            self.turned += usize::from(!annotated.is_upright && is_turned());
        }
        if self.yolo.is_some() {
            let with_holes = annotated.instances.iter().filter(|instance| !instance.contour.holes.is_empty());
            self.filled += with_holes.count();
        }
        Ok(files)
    }

    /// Writes the files that cover all photos, and gives their paths.
    pub fn finish(&mut self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        if let Some(coco) = &self.coco {
            let mut coco = locked(coco);
            let file = coco.finish()?;
            if let (Some(file), Some((kept, missing))) = (&file, coco.kept()) {
                report::warning(format_args!(
                    "--save coco: {} stays as an earlier run wrote it, as photos of it could not be added again: {missing}; \
                     {} has those that could: {}",
                    kept.display(),
                    file.display(),
                    coco.image_count()
                ));
            }
            files.extend(file);
        }
        files.extend(self.yolo.iter().filter_map(|yolo| yolo.file().map(Path::to_owned)));
        if self.turned > 0 {
            report::warning(format_args!(
                "--save coco: photos that their cameras marked as to be turned: {}; their sizes and annotations are those \
                 of the upright pictures, so turn them where you read them too (in Pillow by ImageOps.exif_transpose), or \
                 give --ignore-exif to take the pixels as stored (TIFFs are turned all the same)",
                self.turned
            ));
        }
        if self.filled > 0 {
            report::warning(format_args!(
                "--save yolo: {} with holes, which YOLO's labels cannot express: they are filled there; --save coco \
                 keeps them",
                if self.filled == 1 { "1 part".to_owned() } else { format!("{} parts", self.filled) }
            ));
        }
        Ok(files)
    }
}

fn locked(coco: &Mutex<Coco>) -> MutexGuard<'_, Coco> {
    // A photo is added whole or not at all.
    coco.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the file of all photos so far, for a run that is about to end, and gives what to say of it. No
/// photo can be added afterwards.
fn finish_at_once(coco: &Mutex<Coco>) -> String {
    let mut coco = locked(coco);
    let count = coco.image_count();
    let said = match coco.finish() {
        Ok(None) => String::new(),
        Ok(Some(file)) => {
            let kept = coco.kept().map(|(kept, missing)| {
                format!("; {} stays as it was, as photos of it are still missing: {missing}", kept.display())
            });
            format!("{}; {} has {count}", kept.unwrap_or_default(), file.display())
        }
        Err(error) => format!("; {error:#}"),
    };
    std::mem::forget(coco);
    said
}

/// Whether a file's content is of the kind that has this ending. Readers go by the content.
fn has_content_of(file: &Path, ending: &str) -> bool {
    let marks: &[&[u8]] = match ending {
        "jpg" | "jpeg" => &[b"\xff\xd8"],
        "png" => &[b"\x89PNG"],
        "bmp" => &[b"BM"],
        "tif" | "tiff" => &[b"II", b"MM"],
        "webp" => &[b"RIFF"],
        _ => &[],
    };
    marks.iter().any(|mark| clipseg_files::starts_with(file, mark))
}

/// The names of classes, for a message.
fn listed<'a>(classes: impl IntoIterator<Item = &'a String>) -> String {
    classes.into_iter().map(|class| format!("{:?}", shown(class))).collect::<Vec<_>>().join(", ")
}
