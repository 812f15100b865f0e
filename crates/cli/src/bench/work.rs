//! The work that `clipseg bench` times.

use std::thread::ScopedJoinHandle;
use std::time::Instant;

use anyhow::{Result, ensure};
use clipseg::{ClipSeg, Peaks, Photo};

use super::kernel::Kernel;
use super::report::Profile;
use crate::noise::noise;
use crate::progress::Stopwatch;

/// Things to look for; of different lengths, as prompts are.
const PROMPTS: [&str; 8] = [
    "a cat",
    "a remote control",
    "the background",
    "something to drink from",
    "a wooden table",
    "glass",
    "the person on the left",
    "a red car in front of a house",
];

/// The steps of a run, in the order of [`Work::run`]'s seconds.
pub const STEPS: [&str; 5] = ["preprocessing", "image encoding", "text encoding", "decoding", "all together"];

/// Seconds of each of [`STEPS`].
pub type Seconds = [f64; STEPS.len()];

/// One photo and any number of prompts, or several photos with a prompt each.
pub struct Work {
    pub model: ClipSeg,
    pub photos: Vec<Photo>,
    pub prompts: Vec<String>,
}

impl Work {
    /// The first masks, the first one of them at its photo's size.
    pub fn first(&self) -> Result<()> {
        let pixels = self.model.processor().preprocess_batch(&self.photos)?;
        let scene = pollster::block_on(self.model.model().encode_image((&pixels).into()))?;
        let segmentation = self.model.segment(&scene, &self.prompts)?;
        let photo = &self.photos[0];
        let mask = segmentation.prompt(0).resized(photo.width(), photo.height())?.mask(0, 0.5);
        ensure!(mask.len() == photo.width() * photo.height(), "the mask has not the photo's size");
        Ok(())
    }

    /// Once.
    fn run(&self) -> Result<Seconds> {
        let model = &self.model;
        let mut total = Stopwatch::start();
        let mut stopwatch = Stopwatch::start();
        let pixels = model.processor().preprocess_batch(&self.photos)?;
        let preprocessing = stopwatch.lap();
        let scene = pollster::block_on(model.model().encode_image((&pixels).into()))?;
        model.wait()?;
        let image = stopwatch.lap();
        // Past the cache of prompts, which would leave nothing to measure.
        let batch = model.tokenizer().encode_batch(&self.prompts)?;
        let condition = pollster::block_on(model.model().encode_text((&batch).into()))?;
        let text = stopwatch.lap();
        model.decode(&scene, &condition)?;
        let decoding = stopwatch.lap();
        Ok([preprocessing, image, text, decoding, total.lap()])
    }

    /// Once on each of so many threads, all at the same time: the seconds of each, and those until the last
    /// was done.
    pub fn round(&self, threads: u16) -> Result<(Vec<Seconds>, f64)> {
        let start = Instant::now();
        let runs = std::thread::scope(|scope| {
            // This thread is one of them: a new one would have its memory to find first.
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| self.run())).collect();
            let own = self.run();
            let join = |thread: ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            std::iter::once(own).chain(others.into_iter().map(join)).collect::<Result<Vec<_>>>()
        })?;
        Ok((runs, start.elapsed().as_secs_f64()))
    }

    /// The kernels of one run, the longest first, held against the adapter's peaks where they are known; and
    /// what it took in all.
    pub fn profile(&self, peaks: Option<&Peaks>) -> Result<Profile> {
        let device = self.model.model().device();
        device.start_profile()?;
        let [.., seconds] = self.run()?;
        Ok(Profile { kernels: Kernel::of(&device.take_profile(), peaks), seconds })
    }
}

/// So many different prompts; beyond [`PROMPTS`] numbered ones.
pub fn prompts(count: usize) -> Vec<String> {
    let prompt = |index: usize| {
        let (round, prompt) = (index / PROMPTS.len(), PROMPTS[index % PROMPTS.len()]);
        if round == 0 { prompt.to_owned() } else { format!("{prompt} {}", round + 1) }
    };
    (0..count).map(prompt).collect()
}

/// A photo of random bytes, always the same.
pub fn photo_of_noise(width: usize, height: usize) -> Result<Photo> {
    let bytes = noise(3 * width * height, 1).into_iter().map(|value| (128.0 * (value + 1.0)) as u8);
    Ok(Photo::from_rgb(width, height, bytes.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_differ() {
        let prompts = prompts(20);
        let different: std::collections::HashSet<_> = prompts.iter().collect();
        assert_eq!((different.len(), prompts[9].as_str()), (20, "a remote control 2"));
    }
}
