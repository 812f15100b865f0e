//! The pieces of work, and what each of them gives.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use anyhow::{Context as _, Result, ensure};
use clipseg::{
    ClipSeg, Condition, ImageSize, Orientation, Photo, PixelValues, PreprocessorConfig, Processor,
    Refinement, Resample, Smoother, Windows,
};
use clipseg_testing::Random;
use pollster::block_on;

use crate::root;

const COLOURS: [&str; 6] = ["red", "green", "blue", "yellow", "purple", "orange"];
const SHAPES: [&str; 5] = ["circle", "square", "star", "crescent", "cross"];
/// More prompts than are decoded at once, and than most caches hold.
const MANY: usize = 70;
/// The number of jobs of each kind per photo, each with other prompts.
const VARIETIES: usize = 2;

/// Kinds of work.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A photo and a few prompts.
    Segment,
    /// The same, drawn at the photo's size.
    Resized,
    /// The same, along the photo's edges.
    Refined,
    /// A prompt that was never asked for before, beside one whose result is compared.
    NewPrompts,
    ManyPrompts,
    /// A picture as the prompt.
    ImagePrompt,
    /// Words mixed with a picture.
    Mixed,
    /// Two photos in one batch, each with a prompt of its own.
    Batch,
    /// Pixels of another size than the processor's.
    OtherSize,
    Windows,
    /// The average over three frames.
    Smoothed,
    /// Futures are dropped at their first wait, then the same is asked for again.
    Dropped,
}

const KINDS: [Kind; 12] = [
    Kind::Segment,
    Kind::Resized,
    Kind::Refined,
    Kind::NewPrompts,
    Kind::ManyPrompts,
    Kind::ImagePrompt,
    Kind::Mixed,
    Kind::Batch,
    Kind::OtherSize,
    Kind::Windows,
    Kind::Smoothed,
    Kind::Dropped,
];

/// The engine and what it is given.
pub struct Work<'a> {
    model: &'a ClipSeg,
    photos: Vec<Photo>,
    /// The number of the next prompt that was never asked for.
    next: AtomicU64,
}

/// A piece of work, and the digest of its result when nothing else was going on.
#[derive(Debug)]
pub struct Job {
    kind: Kind,
    photo: usize,
    variety: usize,
    digest: u64,
}

/// All pieces of work.
pub struct Jobs(Vec<Job>);

impl Jobs {
    /// Does each piece of work once, with nothing else going on.
    pub fn computed_alone(work: &Work<'_>) -> Result<Self> {
        let mut jobs = Vec::new();
        for kind in KINDS {
            for photo in 0..work.photos.len() {
                for variety in 0..VARIETIES {
                    let values = work.values(kind, photo, variety);
                    let values = values.with_context(|| format!("{kind:?} of photo {photo}, alone"))?;
                    jobs.push(Job { kind, photo, variety, digest: digest(&values) });
                }
            }
        }
        Ok(Self(jobs))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A random one of them.
    pub fn any(&self, random: &mut Random) -> &Job {
        &self.0[random.below(self.0.len())]
    }
}

impl Job {
    /// Does it again. Fails where the work fails, or its result differs.
    pub fn check(&self, work: &Work<'_>) -> Result<()> {
        let values = work.values(self.kind, self.photo, self.variety).with_context(|| format!("{self:?}"))?;
        ensure!(digest(&values) == self.digest, "{self:?}: not what it gives alone");
        Ok(())
    }
}

impl<'a> Work<'a> {
    /// Work for this engine.
    pub fn new(model: &'a ClipSeg) -> Result<Self> {
        let cat = Photo::open(root().join("fixtures/photos/chelsea.png"), Orientation::Apply)?;
        let photos = vec![
            cat.resized(96, 80, Resample::Bilinear),
            cat.cropped(100..300, 50..250),
            cat.resized(50, 160, Resample::Bicubic),
            cat,
        ];
        Ok(Self { model, photos, next: AtomicU64::new(0) })
    }

    /// The result of a piece of work.
    fn values(&self, kind: Kind, photo: usize, variety: usize) -> Result<Vec<f32>> {
        let model = self.model;
        let (photo, other) = (&self.photos[photo], &self.photos[(photo + 1) % self.photos.len()]);
        let prompts = prompts(3 * variety, 1 + 2 * variety);
        let segment = || model.segment(&model.encode_image(photo)?, &prompts);
        let picture = || model.encode_image_prompt(&model.processor().preprocess(other));
        let segmentation = match kind {
            Kind::Segment => segment()?,
            Kind::Resized => segment()?.resized(photo.width(), photo.height())?,
            Kind::Refined => segment()?.refined(photo, Refinement::default())?,
            Kind::NewPrompts => {
                let new = self.next.fetch_add(1, Ordering::Relaxed);
                let asked = [format!("thing {new}"), prompts[0].clone()];
                model.segment(&model.encode_image(photo)?, &asked)?.prompt(1)
            }
            Kind::ManyPrompts => model.segment(&model.encode_image(photo)?, &many(variety))?,
            Kind::ImagePrompt => model.decode(&model.encode_image(photo)?, &picture()?)?,
            Kind::Mixed => {
                let mixed = model.encode_text(&prompts)?.mix(&picture()?, 0.3)?;
                model.decode(&model.encode_image(photo)?, &mixed)?
            }
            Kind::Batch => return self.batch(photo, other, variety),
            Kind::OtherSize => {
                let scene = model.encode_pixels(&self.pixels_of_other_size(photo, variety)?)?;
                model.segment(&scene, &prompts)?
            }
            Kind::Windows => {
                let windows = Windows { scales: vec![1.0, 1.5], ..Windows::default() };
                let pixels = windows.cut(photo, model.processor())?;
                model.segment_windows(&pixels, &model.encode_text(&prompts)?, |_| ())?
            }
            Kind::Smoothed => {
                let mut smoother = Smoother::new(0.6)?;
                for frame in [photo, other] {
                    let frame = frame.resized(90, 70, Resample::Bilinear);
                    smoother.smooth(model.segment(&model.encode_image(&frame)?, &prompts)?, &frame)?;
                }
                let frame = photo.resized(90, 70, Resample::Bicubic);
                smoother.smooth(model.segment(&model.encode_image(&frame)?, &prompts)?, &frame)?
            }
            Kind::Dropped => {
                self.drop_futures(photo, &prompts)?;
                segment()?
            }
        };
        Ok(segmentation.logits().values.clone())
    }

    fn batch(&self, photo: &Photo, other: &Photo, variety: usize) -> Result<Vec<f32>> {
        let pixels = self.model.processor().preprocess_batch(&[photo.clone(), other.clone()])?;
        let condition = self.model.encode_text(&prompts(variety, 2))?;
        let engine = self.model.model();
        let logits = block_on(async {
            let scene = engine.encode_image((&pixels).into()).await?;
            engine.decode(&scene, &condition).await
        });
        Ok(logits?.values)
    }

    fn pixels_of_other_size(&self, photo: &Photo, variety: usize) -> Result<PixelValues> {
        let patch = self.model.model().config().vision_config.patch_size;
        let size = ImageSize::Sides { height: patch * (3 + variety), width: patch * 5 };
        let config = PreprocessorConfig { size, ..self.model.processor().config().clone() };
        Ok(Processor::new(config)?.preprocess(photo))
    }

    /// Begins to encode a photo and words and to decode, and gives each up at its first wait.
    fn drop_futures(&self, photo: &Photo, prompts: &[String]) -> Result<()> {
        let engine = self.model.model();
        let pixels = self.model.processor().preprocess(photo);
        let words = self.model.tokenizer().encode_batch(prompts)?;
        begin(engine.encode_image((&pixels).into()));
        begin(engine.encode_text((&words).into()));
        let (scene, condition): (_, Condition) =
            (self.model.encode_image(photo)?, self.model.encode_text(prompts)?);
        begin(engine.decode(&scene, &condition));
        Ok(())
    }
}

/// Takes a future to its first wait, and drops it.
fn begin<T>(future: impl Future<Output = T>) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

fn prompts(first: usize, count: usize) -> Vec<String> {
    let prompt = |place: usize| {
        format!("a {} {}", COLOURS[place % COLOURS.len()], SHAPES[place / COLOURS.len() % SHAPES.len()])
    };
    (first..first + count).map(prompt).collect()
}

/// More prompts than there are pairs of words, so that some of them are asked for twice.
fn many(variety: usize) -> Vec<String> {
    prompts(variety, MANY)
}

/// FNV-1a of all bits.
fn digest(values: &[f32]) -> u64 {
    let step = |hash: u64, value: &f32| (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3);
    values.iter().fold(0xcbf2_9ce4_8422_2325 ^ values.len() as u64, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_makes_another_digest() {
        let values: Vec<f32> = (0..1000).map(|n| n as f32).collect();
        let mut other = values.clone();
        other[700] = f32::from_bits(other[700].to_bits() ^ 1);
        assert_ne!(digest(&values), digest(&other));
        assert_ne!(digest(&[0.0]), digest(&[-0.0]));
        assert_ne!(digest(&[]), digest(&[0.0]));
    }
}
