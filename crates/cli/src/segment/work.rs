//! Takes photo after photo through reading, the model and drawing, which run side by side.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use clipseg::{ClipSeg, Condition, DeviceError, Error, Smoother, WindowStep};

use super::dataset::DataSet;
use super::drawing::{Decoded, Drawing};
use super::outcomes::Outcomes;
use super::photos::{self, Opened};
use super::report::Seconds;
use crate::inputs;
use crate::paths::PathText;
use crate::progress::{Estimate, Progress, Stopwatch};

/// The number of photos that are read ahead, and of results that wait to be written.
const WAITING: usize = 2;

/// What all photos have in common.
pub struct Work<'a> {
    pub drawing: Drawing<'a>,
    pub model: &'a ClipSeg,
    /// The checkpoint, for messages.
    pub folder: &'a Path,
    pub condition: &'a Condition,
    /// The average over frames, if --smooth is given.
    pub smoother: Option<Smoother>,
    pub progress: &'a Progress,
    /// The estimate for all photos.
    pub estimate: Estimate,
    /// The times that are spent once: to load the model and to encode the prompts.
    pub seconds: Seconds,
}

impl Work<'_> {
    /// Segments the photos, the first of which is already open, and reports each to `outcomes` and `data_set`
    /// when it is done. While the device works on one photo, the next is read and the results of the one
    /// before are written. A photo that fails does not keep the others from being segmented.
    ///
    /// # Errors
    /// When the outcomes cannot be printed, and when the device was lost, after which nothing more can be
    /// done.
    pub fn run(
        &self,
        first: Result<Opened>,
        outcomes: &mut Outcomes,
        data_set: &mut DataSet<'_>,
    ) -> Result<()> {
        let sources = self.drawing.sources;
        let mut smoother = self.smoother.clone();
        let mut tried = sources.len();
        let (to_device, opened) = sync_channel(WAITING);
        let (to_drawing, decoded) = sync_channel::<(usize, Result<Decoded>)>(WAITING);
        thread::scope(|scope| {
            let (arguments, processor) = (self.drawing.arguments, self.model.processor());
            scope.spawn(move || {
                let rest = sources[1..].iter().map(|source| photos::open(&source.path, arguments, processor));
                for opened in std::iter::once(first).chain(rest) {
                    // The receiver is gone when outcomes could not be printed.
                    if to_device.send(opened).is_err() {
                        return;
                    }
                }
            });
            let drawing = scope.spawn(move || {
                // Move the receiver into this thread: when an error ends it, the sender notices.
                let decoded = decoded;
                decoded.iter().try_for_each(|(place, decoded)| {
                    let path = &sources[place].path;
                    let draw =
                        |decoded| self.drawing.draw(place, decoded, data_set).with_context(|| shown(path));
                    self.progress.pause(|| outcomes.add(path, decoded.and_then(draw)))
                })
            });
            for (place, opened) in opened.iter().enumerate() {
                let folder = |place: usize| folder_of(&sources[place].path);
                // The frames of another folder are another film.
                if place > 0 && folder(place) != folder(place - 1) {
                    smoother = self.smoother.clone();
                }
                let decoded = opened.and_then(|opened| {
                    let decoded = self.decode(place, opened, smoother.as_mut());
                    decoded.with_context(|| shown(&sources[place].path))
                });
                let is_lost = decoded.as_ref().is_err_and(tells_of_loss);
                if is_lost {
                    tried = place + 1;
                }
                if to_drawing.send((place, decoded)).is_err() || is_lost {
                    break;
                }
            }
            drop((to_drawing, opened));
            drawing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        ensure!(
            tried == sources.len(),
            "the device was lost; photos that were not tried: {} of {}; run the command again with them",
            sources.len() - tried,
            sources.len()
        );
        Ok(())
    }

    fn decode(&self, place: usize, opened: Opened, smoother: Option<&mut Smoother>) -> Result<Decoded> {
        let Self { model, progress, .. } = self;
        let Opened { photo, pixels } = opened;
        let which = match self.drawing.sources {
            [_] => String::new(),
            all => format!("{} ({} of {}): ", PathText(&all[place].path).printable(), place + 1, all.len()),
        };
        progress.pause(|| inputs::warn_of_cut_off(&self.drawing.sources[place].path, &photo));
        let mut stopwatch = Stopwatch::start();
        let left = |part: f64| self.estimate.left(place as f64 + part);
        progress.step(format!("{which}encoding{}", left(0.0)));
        let (count, mut done) = (pixels.count(), 0);
        let mut seconds = self.seconds;
        let segmentation = model.segment_windows(&pixels, self.condition, |step| match step {
            WindowStep::Encoded if count == 1 => {
                seconds.encode_image += stopwatch.lap();
                progress.step(format!("{which}decoding"));
            }
            WindowStep::Encoded => seconds.encode_image += stopwatch.lap(),
            WindowStep::Decoded => {
                seconds.decode += stopwatch.lap();
                done += 1;
                let left = left(f64::from(done) / count as f64);
                if count > 1 {
                    progress.step(format!("{which}{done} of {count} windows{left}"));
                }
            }
            _ => {}
        });
        let mut segmentation = segmentation.map_err(|error| match error {
            Error::LogitsNotFinite => anyhow!("{}: {error}", self.folder.display()),
            error => error.into(),
        })?;
        // The time that it took to put the windows together.
        seconds.decode += stopwatch.lap();
        if let Some(smoother) = smoother {
            segmentation = smoother.smooth(segmentation, &photo.photo)?;
        }
        let is_upright = photo.is_upright;
        Ok(Decoded { photo: photo.photo, is_upright, segmentation, windows: count, seconds })
    }
}

/// The folder of a photo, however its path is spelled.
fn folder_of(photo: &Path) -> PathBuf {
    let folder = photo.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// A photo's path, to stand before what went wrong with the photo: the parts of the engine know no files.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Whether the error is the loss of the device, which all later photos would meet too.
fn tells_of_loss(error: &anyhow::Error) -> bool {
    let is_loss = |error: &DeviceError| matches!(error, DeviceError::DeviceLost(_));
    error.chain().any(|cause| match cause.downcast_ref() {
        Some(Error::Device(error)) => is_loss(error),
        _ => cause.downcast_ref().is_some_and(is_loss),
    })
}
