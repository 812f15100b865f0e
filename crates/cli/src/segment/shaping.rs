//! The options by which a mask is made of probabilities.

use anyhow::{Result, ensure};
use clap::Args;
use clipseg::masks::{Mask, MaskOptions};

use super::saves::Kind;

/// What is done to masks, in this order; `MaskOptions` says why.
#[derive(Args)]
pub struct ShapingArguments {
    /// Probability, 0 to 1, from which a pixel belongs to the mask.
    #[arg(long, default_value_t = 0.5, allow_negative_numbers = true)]
    pub threshold: f32,
    /// Leave the mask empty if the presence score, which the report gives for each prompt, is below this: the
    /// object is then taken to be absent. `clipseg eval --tune` measures which value suits a model [default:
    /// 0, never].
    #[arg(
        long,
        value_name = "SCORE",
        default_value_t = 0.0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub min_presence: f32,
    /// Mask the background of the object instead of the object. Probabilities are unaffected.
    #[arg(long)]
    invert: bool,
    /// Drop connected regions smaller than this from masks and everything derived from them; probabilities
    /// are unaffected. Pixels that touch at an edge or a corner are connected.
    #[arg(long, value_name = "PIXELS", default_value_t = 1)]
    pub min_area: usize,
    /// Grow every mask by this distance. Distances are Euclidean, so corners become round.
    #[arg(long, value_name = "PIXELS", conflicts_with = "shrink", allow_negative_numbers = true)]
    grow: Option<f64>,
    /// Shrink every mask by this distance. The photo's sides do not count as edges of the mask.
    #[arg(long, value_name = "PIXELS", allow_negative_numbers = true)]
    shrink: Option<f64>,
    /// Soften the edge in NAME-mask.png: it fades from white, this far inside the edge, to black, this far
    /// outside. Areas, boxes and polygons are those of the hard edge.
    #[arg(long, value_name = "PIXELS", allow_negative_numbers = true)]
    feather: Option<f64>,
}

impl ShapingArguments {
    /// Checks the values, and that they change something.
    pub fn check(&self, saves: &[Kind]) -> Result<()> {
        let Self { threshold, min_presence, .. } = self;
        ensure!((0.0..=1.0).contains(threshold), "--threshold {threshold}: must lie between 0 and 1");
        ensure!(
            (0.0..=1.0).contains(min_presence),
            "--min-presence {min_presence}: must lie between 0 and 1"
        );
        for (flag, pixels) in [("--grow", self.grow), ("--shrink", self.shrink), ("--feather", self.feather)]
        {
            let Some(pixels) = pixels else { continue };
            ensure!(
                (0.0..=Mask::MAX_DISTANCE).contains(&pixels),
                "{flag} {pixels}: must be a number of pixels between 0 and {}",
                Mask::MAX_DISTANCE
            );
        }
        ensure!(
            self.feather.is_none() || saves.contains(&Kind::Mask),
            "--feather: changes NAME-mask.png alone; add --save mask"
        );
        ensure!(
            !self.invert || !saves.contains(&Kind::Labels),
            "--invert: masks what is not looked for, but a label map shows which prompt is; leave out --invert or \
             --save labels"
        );
        Ok(())
    }

    /// The same options in the library's form.
    pub fn options(&self) -> MaskOptions {
        let Self { threshold, invert, min_area, .. } = *self;
        let grow = self.grow.unwrap_or(0.0) - self.shrink.unwrap_or(0.0);
        MaskOptions { threshold, invert, min_area, grow, feather: self.feather.unwrap_or(0.0) }
    }
}
