//! Masks shown over the photos that they are of.

use crate::{Error, Mask};

/// Colours of masks over a photo, red, green and blue, for one prompt after another: far apart, and bright
/// enough for dark photos.
pub const OVERLAY_COLOURS: [[u8; 3]; 8] = [
    [255, 64, 96],
    [48, 160, 255],
    [64, 208, 96],
    [255, 176, 32],
    [176, 96, 255],
    [32, 208, 208],
    [255, 112, 208],
    [208, 224, 48],
];

impl Mask {
    /// The photo, red, green and blue bytes row by row, with this mask over it in a colour: each byte becomes
    /// `photo * (1 - opacity) + colour * opacity`, rounded. The mask's edge is drawn within it in the colour
    /// alone, `outline` pixels wide: where going so far to a side leaves the mask. 0 draws none.
    ///
    /// # Errors
    /// [`Error::Length`] for a photo of another size than the mask's; [`Error::Probability`] for an opacity
    /// outside of 0 to 1.
    pub fn laid_over(
        &self,
        rgb: &[u8],
        colour: [u8; 3],
        opacity: f32,
        outline: usize,
    ) -> Result<Vec<u8>, Error> {
        let (width, height) = (self.width(), self.height());
        if rgb.len() != 3 * self.pixels().len() {
            return Err(Error::Length { width, height, values: rgb.len() / 3 });
        }
        if !(0.0..=1.0).contains(&opacity) {
            return Err(Error::Probability(format!("an opacity of {opacity}; give a number within 0..=1")));
        }
        let inside = |x: usize, y: usize| self.pixels()[y * width + x];
        let mut laid_over = rgb.to_vec();
        let (pixels, _) = laid_over.as_chunks_mut::<3>();
        for (place, pixel) in pixels.iter_mut().enumerate().filter(|&(place, _)| self.pixels()[place]) {
            let (x, y) = (place % width, place / width);
            let is_within = inside(x.saturating_sub(outline), y)
                && inside(x.saturating_add(outline).min(width - 1), y)
                && inside(x, y.saturating_sub(outline))
                && inside(x, y.saturating_add(outline).min(height - 1));
            let share = if is_within { opacity } else { 1.0 };
            for (value, colour) in pixel.iter_mut().zip(colour) {
                *value = (f32::from(*value) * (1.0 - share) + f32::from(colour) * share).round() as u8;
            }
        }
        Ok(laid_over)
    }
}
