//! Image prompts as engineered in the paper: the object is kept, and its surroundings are blurred, darkened
//! and cropped away.

use crate::{Error, Photo, PixelValues, Processor, Result};

/// Width of the blur kernel, in pixels.
const KERNEL: usize = 15;

/// How the surroundings of the object in a prompt image are treated: table 5 of the paper (Lüddecke and Ecker
/// 2022), `img_preprocess` of its code. The default is the best one in that table:
/// [`CROP_BLUR_DARKEN`](Self::CROP_BLUR_DARKEN). For the styles that do not crop, the authors' loader also
/// takes 0.01 off every normalised value; that is left out here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromptStyle {
    /// Standard deviation of the Gaussian that blurs the background, in pixels of the model's input; above 0.
    pub deviation: f32,
    /// Factor on the background, from 0 to 1.
    pub background: f32,
    /// If `Some`, crops to the object's bounding box, grown on each side by this share of its height and
    /// width, at least 0.
    pub context: Option<f64>,
}

impl PromptStyle {
    /// Crop, blur, darken.
    pub const CROP_BLUR_DARKEN: Self = Self { deviation: 3.0, background: 0.1, context: Some(0.1) };
    /// "blur3_highlight01": blur and darken, no crop.
    pub const BLUR_DARKEN: Self = Self { context: None, ..Self::CROP_BLUR_DARKEN };
    /// "blur3_highlight": blur, and darken by half.
    pub const BLUR: Self = Self { background: 0.5, ..Self::BLUR_DARKEN };
    /// "blur_highlight": blur a little, and darken by half.
    pub const SLIGHT_BLUR: Self = Self { deviation: 1.0, ..Self::BLUR };
    /// "crop": blur a little and crop.
    pub const CROP: Self = Self { deviation: 1.0, background: 1.0, context: Some(0.1) };
}

impl Default for PromptStyle {
    fn default() -> Self {
        Self::CROP_BLUR_DARKEN
    }
}

impl PromptStyle {
    /// Makes an image prompt from a photo and the `mask` of an object in it (`[height, width]` of the photo):
    /// preprocesses the photo, then calls [`apply`](Self::apply). The mask is resized as by Pillow's
    /// `NEAREST`.
    ///
    /// # Errors
    /// [`Error::Image`] where the mask and the photo differ in size, or no marked pixel remains at the
    /// model's resolution; [`Error::Input`] for a field of the style that is out of its range.
    pub fn prompt(&self, processor: &Processor, photo: &Photo, mask: &[bool]) -> Result<PixelValues> {
        let (width, height) = (photo.width(), photo.height());
        if mask.len() != width * height {
            let found = mask.len();
            return Err(refused(format!("a mask of {found} pixels for a photo of {width} × {height}")));
        }
        let pixels = processor.preprocess(photo);
        let nearest = |index: usize, from: usize, to: usize| {
            (((index as f64 + 0.5) * from as f64 / to as f64) as usize).min(from - 1)
        };
        let row_mask = |row: usize| {
            let row = nearest(row, height, pixels.height);
            (0..pixels.width).map(move |column| mask[row * width + nearest(column, width, pixels.width)])
        };
        let resized: Vec<_> = (0..pixels.height).flat_map(row_mask).collect();
        self.apply(&pixels, &resized)
    }

    /// Computes `mask · x + background · (1 − mask) · blur(x)` of `pixels`, then crops, pads with zeros to a
    /// square, and resizes that to the original size by nearest neighbour. `mask` is `[height, width]`.
    ///
    /// # Errors
    /// [`Error::Image`] where the mask has another size or marks no pixel, or there are not three values per
    /// pixel; [`Error::Input`] for a field of the style that is out of its range.
    pub fn apply(&self, pixels: &PixelValues, mask: &[bool]) -> Result<PixelValues> {
        self.expect_valid()?;
        let (width, height) = (pixels.width, pixels.height);
        let area = width.checked_mul(height).filter(|&area| area == mask.len());
        if area.and_then(|area| area.checked_mul(3)) != Some(pixels.values.len()) {
            let (found, values) = (mask.len(), pixels.values.len());
            return Err(refused(format!(
                "a mask of {found} pixels for {width} × {height} pixels of {values} values"
            )));
        }
        let Some(bounds) = Bounds::of(mask, width) else {
            return Err(refused(format!(
                "the prompt's mask marks nothing at the model's {width} × {height} pixels; mark a larger object"
            )));
        };
        let mut values = blurred(pixels, self.deviation);
        for (index, value) in values.iter_mut().enumerate() {
            *value = if mask[index % mask.len()] { pixels.values[index] } else { self.background * *value };
        }
        let dimmed = PixelValues { values, width, height };
        Ok(match self.context {
            None => dimmed,
            Some(context) => cropped(&dimmed, &bounds.grown(context, width, height)),
        })
    }

    fn expect_valid(&self) -> Result<()> {
        let Self { deviation, background, context } = *self;
        if !(deviation > 0.0 && deviation.is_finite()) {
            return Err(Error::Input(format!("a blur with a deviation of {deviation}; it is above 0")));
        }
        if !(0.0..=1.0).contains(&background) {
            return Err(Error::Input(format!("a background of {background}; it is from 0 to 1")));
        }
        if let Some(context) = context.filter(|context| !(*context >= 0.0 && context.is_finite())) {
            return Err(Error::Input(format!("a context of {context} around the object; it is at least 0")));
        }
        Ok(())
    }
}

/// The part within `bounds`, centred in a square of zeros that is resized to the size of `pixels`.
fn cropped(pixels: &PixelValues, bounds: &Bounds) -> PixelValues {
    let (rows, columns) = (bounds.bottom - bounds.top, bounds.right - bounds.left);
    let side = rows.max(columns);
    let (above, before) = ((side - rows) / 2, (side - columns) / 2);
    // Computed in f32, to round as torch's `interpolate` does.
    let nearest =
        |index: usize, length: usize| ((index as f32 * (side as f32 / length as f32)) as usize).min(side - 1);
    let value = |channel: usize, row: usize, column: usize| {
        let row = nearest(row, pixels.height).checked_sub(above).filter(|row| *row < rows)?;
        let column = nearest(column, pixels.width).checked_sub(before).filter(|column| *column < columns)?;
        let row = channel * pixels.height + bounds.top + row;
        Some(pixels.values[row * pixels.width + bounds.left + column])
    };
    let values = (0..3)
        .flat_map(|channel| (0..pixels.height).map(move |row| (channel, row)))
        .flat_map(|(channel, row)| (0..pixels.width).map(move |column| (channel, row, column)))
        .map(|(channel, row, column)| value(channel, row, column).unwrap_or(0.0))
        .collect();
    PixelValues { values, ..*pixels }
}

fn refused(message: String) -> Error {
    Error::Image { origin: "image".to_owned(), message }
}

/// Rows `top..bottom` and columns `left..right`.
struct Bounds {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl Bounds {
    /// The smallest bounds around all marked pixels.
    fn of(mask: &[bool], width: usize) -> Option<Self> {
        let marked = || (0..mask.len()).filter(|&index| mask[index]);
        Some(Self {
            top: marked().map(|index| index / width).min()?,
            bottom: marked().map(|index| index / width).max()? + 1,
            left: marked().map(|index| index % width).min()?,
            right: marked().map(|index| index % width).max()? + 1,
        })
    }

    /// The bounds grown by a share of their extent, but not beyond the picture; rounded down as in the
    /// paper's code.
    fn grown(&self, context: f64, width: usize, height: usize) -> Self {
        let grown = |low: usize, high: usize, end: usize| {
            let margin = context * (high - low) as f64;
            ((low as f64 - margin).max(0.0) as usize, (high as f64 + margin).min(end as f64) as usize)
        };
        let (top, bottom) = grown(self.top, self.bottom, height);
        let (left, right) = grown(self.left, self.right, width);
        Self { top, bottom, left, right }
    }
}

/// Blurs each channel, along the rows and then along the columns. Beyond the border the picture is mirrored
/// without repeating the border's pixels.
fn blurred(pixels: &PixelValues, deviation: f32) -> Vec<f32> {
    let weights = gaussian(deviation);
    let (width, height) = (pixels.width, pixels.height);
    let along = |values: &[f32], stride: usize, length: usize| -> Vec<f32> {
        let places = 0..values.len();
        places
            .map(|index| {
                let position = index / stride % length;
                let start = index - position * stride;
                let tap = |(tap, weight): (usize, &f32)| {
                    let offset = (position + tap) as isize - (KERNEL / 2) as isize;
                    weight * values[start + mirrored(offset, length) * stride]
                };
                weights.iter().enumerate().map(tap).sum()
            })
            .collect()
    };
    along(&along(&pixels.values, 1, width), width, height)
}

fn gaussian(deviation: f32) -> [f32; KERNEL] {
    let weight = |tap: usize| {
        let offset = tap as f64 - (KERNEL / 2) as f64;
        (-offset * offset / (2.0 * f64::from(deviation).powi(2))).exp()
    };
    let sum: f64 = (0..KERNEL).map(weight).sum();
    std::array::from_fn(|tap| (weight(tap) / sum) as f32)
}

/// Maps a position outside `0..length` to the one inside that it mirrors.
fn mirrored(position: isize, length: usize) -> usize {
    let last = length as isize - 1;
    if last == 0 {
        return 0;
    }
    let folded = position.rem_euclid(2 * last);
    folded.min(2 * last - folded) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_out_of_its_range_is_refused() {
        let pixels = PixelValues { values: vec![0.5; 3 * 16], width: 4, height: 4 };
        let mut mask = vec![false; 16];
        mask[5] = true;
        let style = PromptStyle::default();
        assert!(style.apply(&pixels, &mask).is_ok());
        let deviations =
            [0.0, -1.0, f32::NAN, f32::INFINITY].map(|deviation| PromptStyle { deviation, ..style });
        let backgrounds = [-0.1, 1.1, f32::NAN].map(|background| PromptStyle { background, ..style });
        let contexts = [-0.5, -2.0, f64::NAN, f64::INFINITY]
            .map(|context| PromptStyle { context: Some(context), ..style });
        for style in deviations.iter().chain(&backgrounds).chain(&contexts) {
            assert!(matches!(style.apply(&pixels, &mask), Err(Error::Input(_))), "{style:?}");
        }
    }

    #[test]
    fn positions_beyond_the_border_are_mirrored() {
        let mirror = |length| (-4..8).map(|position| mirrored(position, length)).collect::<Vec<_>>();
        assert_eq!(mirror(5), [4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1]);
        assert_eq!(mirror(2), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(mirror(1), [0; 12]);
    }

    #[test]
    fn a_mask_that_marks_nothing_is_refused() {
        let pixels = PixelValues { values: vec![0.0; 27], height: 3, width: 3 };
        let style = PromptStyle::default();
        assert!(style.apply(&pixels, &[false; 9]).unwrap_err().to_string().contains("marks nothing"));
        assert!(style.apply(&pixels, &[true; 8]).unwrap_err().to_string().contains("8 pixels"));
    }
}
