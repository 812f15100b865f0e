//! How finely photos are looked at, and masks are drawn.

use anyhow::{Context, Result, ensure};
use clap::Args;
use clipseg::{Photo, Processor, Refinement, Segmentation, WindowPixels, Windows};

/// For photos that are much larger than the model's picture.
#[derive(Args, Clone)]
pub struct ResolutionArguments {
    /// Look at the photo through sliding windows: at 2 its shorter side is two windows long, at 1 the model
    /// sees the photo as a whole. Several scales, separated by commas, are averaged. Each window costs as
    /// much as a photo.
    #[arg(
        long,
        value_name = "SCALES",
        value_delimiter = ',',
        default_value = "1",
        allow_negative_numbers = true
    )]
    scales: Vec<f32>,
    /// By which share of their sides neighbouring windows overlap, 0 to 0.75; they are blended there
    /// [default: 0.25].
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    overlap: Option<f32>,
    /// Draw masks along the photo's own edges, by a guided filter with a radius of 1 to 256 pixels of the
    /// picture that the model sees [default RADIUS: 8].
    #[arg(
        long,
        value_name = "RADIUS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "8"
    )]
    refine: Option<usize>,
}

impl ResolutionArguments {
    /// Checks what can be checked without a photo.
    pub fn check(&self) -> Result<()> {
        self.windows().validate().context("--scales, --overlap")?;
        ensure!(
            self.overlap.is_none() || self.scales.iter().any(|&scale| scale > 1.0),
            "--overlap: at scale 1 there is one window, which overlaps none; add --scales, such as 1,2, or leave out \
             --overlap"
        );
        self.refinement().map_or(Ok(()), Refinement::validate).context("--refine")
    }

    /// A photo cut into windows, ready to be encoded.
    pub fn cut(&self, photo: &Photo, processor: &Processor) -> Result<WindowPixels> {
        Ok(self.windows().cut(photo, processor)?)
    }

    /// A segmentation of the photo at the photo's size.
    pub fn draw(&self, segmentation: &Segmentation, photo: &Photo) -> Result<Segmentation> {
        Ok(match self.refinement() {
            None => segmentation.resized(photo.width(), photo.height())?,
            Some(refinement) => segmentation.refined(photo, refinement)?,
        })
    }

    fn windows(&self) -> Windows {
        let overlap = self.overlap.unwrap_or(Windows::default().overlap);
        Windows { scales: self.scales.clone(), overlap }
    }

    fn refinement(&self) -> Option<Refinement> {
        self.refine.map(|radius| Refinement { radius, ..Refinement::default() })
    }
}
