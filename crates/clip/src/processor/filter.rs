//! The filters of Pillow's resize, and the weights that they give to source pixels (`precompute_coeffs` and
//! `normalize_coeffs_8bpc` in Pillow's `Resample.c`).

use serde::{Deserialize, Serialize};

/// Fractional bits of a weight: 32, less 8 for the pixel and 2 for sums above one.
pub(super) const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Filter of a resize. The numbers are Pillow's, as used in `preprocessor_config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Resample {
    /// The nearest source pixel, 0.
    Nearest,
    /// Truncated sinc, reaches over three pixels, 1.
    Lanczos,
    /// Triangle, reaches over one pixel, 2.
    Bilinear,
    /// Cubic with a = -0.5, reaches over two pixels, 3.
    Bicubic,
    /// Mean of the pixels covered, 4.
    Box,
    /// Hamming window, as sharp as bicubic, reaches over one pixel, 5.
    Hamming,
}

impl From<Resample> for u8 {
    fn from(resample: Resample) -> Self {
        resample as u8
    }
}

impl TryFrom<u8> for Resample {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        use Resample::*;
        [Nearest, Lanczos, Bilinear, Bicubic, Box, Hamming]
            .get(usize::from(number))
            .copied()
            .ok_or_else(|| format!("there is no filter {number}"))
    }
}

impl Resample {
    /// How many source pixels the filter reaches to each side when enlarging.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// Weight of a pixel at distance `x`. The order of operations is Pillow's: weights are rounded later, and
    /// a difference in the last bit here could change the result there.
    fn weight(self, x: f64) -> f64 {
        use std::f64::consts::PI;
        match self {
            Self::Nearest | Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming => match x.abs() {
                0.0 => 1.0,
                x if x < 1.0 => {
                    let x = x * PI;
                    // Pillow has these two numbers as floats.
                    x.sin() / x * (f64::from(0.54_f32) + f64::from(0.46_f32) * x.cos())
                }
                _ => 0.0,
            },
            Self::Bicubic => {
                const A: f64 = -0.5;
                match x.abs() {
                    x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
                    x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
                    _ => 0.0,
                }
            }
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// The source pixels that one target pixel is made from, along one axis.
pub(super) struct Window {
    /// First source pixel.
    pub(super) start: usize,
    /// Weights of that pixel and the following ones, in units of 2^-[`PRECISION_BITS`].
    pub(super) weights: Vec<i32>,
}

/// The windows of all `target` pixels along an axis of `source` pixels.
pub(super) fn windows(source: usize, target: usize, resample: Resample) -> Vec<Window> {
    let scale = source as f64 / target as f64;
    // When shrinking, the filter is stretched over all source pixels that fall into one target pixel; that is
    // the antialiasing.
    let stretch = scale.max(1.0);
    let (support, per_stretch) = (resample.support() * stretch, 1.0 / stretch);
    let window = |index: usize| {
        let center = (index as f64 + 0.5) * scale;
        // The cast turns negative numbers into 0, as Pillow's clamp does.
        let start = (center - support + 0.5) as usize;
        let end = ((center + support + 0.5) as usize).min(source);
        let weight = |pixel: usize| resample.weight((pixel as f64 - center + 0.5) * per_stretch);
        let mut weights: Vec<f64> = (start..end).map(weight).collect();
        let total: f64 = weights.iter().sum();
        if total != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= total);
        }
        Window { start, weights: weights.into_iter().map(fixed_point).collect() }
    };
    (0..target).map(window).collect()
}

/// Rounds half away from zero.
fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION_BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}
