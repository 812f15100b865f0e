use clipseg_tensor::Array;

use crate::segmentation::sigmoid;
use crate::{Error, Photo, Result, Segmentation};

/// The largest probability that an average keeps; the smallest is 1 minus this. A probability that is closer
/// to certain has no finite logit in f32.
const MOST: f32 = 1.0 - 1e-7;

/// Averages each pixel's probability over the frames of a film, where the latest frames count most: masks
/// flicker less from frame to frame, but lag behind what moves.
///
/// The average m is the exponential moving average of the pixel's probability p in frame t:
///
/// ```text
/// m(0) = p(0)
/// m(t) = share · m(t − 1) + (1 − share) · p(t)
/// ```
///
/// It is taken at the size of the model's logits, before they are drawn at the photo's size: so masks that
/// are [refined](Segmentation::refined) follow the edges of their own frame, and the averages take little
/// memory. A frame of another size, or another number of prompts, starts a new average with m = p; where the
/// prompts change otherwise, call [`restart`](Self::restart). Half of a change is seen after ln 0.5 / ln
/// share frames: one at a share of 0.5, three at 0.8.
#[derive(Clone, Debug)]
pub struct Smoother {
    share: f32,
    before: Option<Before>,
}

#[derive(Clone, Debug)]
struct Before {
    /// Columns and rows of the frame.
    frame: [usize; 2],
    shape: Vec<usize>,
    means: Vec<f32>,
}

impl Smoother {
    /// A smoother that has seen no frame. At a share of 0 frames stay as they are.
    ///
    /// # Errors
    /// [`Error::Input`] for a share that is not within 0..1; at 1 the first frame would stay for ever.
    pub fn new(share: f32) -> Result<Self> {
        if !(0.0..1.0).contains(&share) {
            return Err(Error::Input(format!(
                "a share of {share} for the frames before; it is at least 0 and below 1"
            )));
        }
        Ok(Self { share, before: None })
    }

    /// Forgets the frames so far: the next one starts a new average, as it has to where its prompts are
    /// others.
    pub fn restart(&mut self) {
        self.before = None;
    }

    /// Takes the segmentation of the next frame, `photo`, and gives it the logits of the averages.
    ///
    /// # Errors
    /// [`Error::Input`] for logits that are not numbers; the frame is then ignored.
    pub fn smooth(&mut self, segmentation: Segmentation, photo: &Photo) -> Result<Segmentation> {
        if self.share == 0.0 {
            return Ok(segmentation);
        }
        let logits = segmentation.logits();
        if logits.values.iter().any(|logit| logit.is_nan()) {
            return Err(Error::Input("a frame's logits are not numbers".to_owned()));
        }
        let frame = [photo.width(), photo.height()];
        match &mut self.before {
            Some(before) if before.frame == frame && before.shape == logits.shape => {
                for (mean, &logit) in before.means.iter_mut().zip(&logits.values) {
                    *mean = self.share * *mean + (1.0 - self.share) * sigmoid(logit);
                }
                let values = before.means.iter().map(|&mean| logit(mean)).collect();
                Ok(segmentation.with_logits(Array { shape: before.shape.clone(), values }))
            }
            before => {
                let means = logits.values.iter().map(|&logit| sigmoid(logit)).collect();
                *before = Some(Before { frame, shape: logits.shape.clone(), means });
                Ok(segmentation)
            }
        }
    }
}

/// The logit of a probability.
fn logit(probability: f32) -> f32 {
    let probability = f64::from(probability.clamp(1.0 - MOST, MOST));
    (probability / (1.0 - probability)).ln() as f32
}

#[cfg(test)]
mod tests {
    use clipseg_tensor::{Device, DeviceOptions};

    use super::*;

    fn photo(width: usize) -> Photo {
        Photo::from_rgb(width, 2, vec![0; 6 * width]).unwrap()
    }

    #[test]
    fn frames_average_as_the_formula_says() {
        let device = Device::open(&DeviceOptions::default()).unwrap();
        let frame = |logits: [f32; 2]| {
            let logits = Array { shape: vec![1, 1, 2], values: logits.to_vec() };
            Segmentation::from_logits(&device, logits).unwrap()
        };
        let mut smoother = Smoother::new(0.75).unwrap();
        let frames = [[4.0, -1.0], [-40.0, 2.0], [0.0, 200.0]];
        let mut means: Vec<f32> = frame(frames[0]).probabilities(0);
        for (index, logits) in frames.into_iter().enumerate() {
            let (given, smoothed) = (frame(logits), smoother.smooth(frame(logits), &photo(3)).unwrap());
            for (mean, p) in means.iter_mut().zip(given.probabilities(0)) {
                *mean = 0.75 * *mean + 0.25 * p;
            }
            assert!(smoothed.logits().values.iter().all(|logit| logit.is_finite()));
            for (mean, p) in means.iter().zip(smoothed.probabilities(0)) {
                assert!((mean - p).abs() < 1e-6, "frame {index}: {mean} {p}");
            }
        }
        // Another size of frame begins anew, and a frame that is not of numbers changes nothing.
        let again = smoother.smooth(frame([-3.0, 3.0]), &photo(4)).unwrap();
        assert_eq!(again.logits().values, [-3.0, 3.0]);
        assert!(smoother.smooth(frame([f32::NAN, 0.0]), &photo(4)).is_err());
        let still = smoother.smooth(frame([-3.0, 3.0]), &photo(4)).unwrap();
        assert!((still.logits().values[0] + 3.0).abs() < 1e-5);
        smoother.restart();
        let others = smoother.smooth(frame([5.0, -5.0]), &photo(4)).unwrap();
        assert_eq!(others.logits().values, [5.0, -5.0]);
        let mut none = Smoother::new(0.0).unwrap();
        for logits in frames {
            assert_eq!(none.smooth(frame(logits), &photo(3)).unwrap().logits().values, logits);
        }
    }

    #[test]
    fn impossible_shares_are_refused() {
        for share in [-0.1, 1.0, 2.0, f32::NAN, f32::INFINITY] {
            let error = Smoother::new(share).unwrap_err().to_string();
            assert!(error.contains(&share.to_string()), "{error}");
        }
    }
}
