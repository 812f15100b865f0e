//! Pictures of a segmentation, encoded as PNG.

use anyhow::Result;
use clipseg::Photo;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// Colours of the overlays, prompt after prompt; far apart, and bright enough for dark photos.
const PALETTE: [[u8; 3]; 8] = [
    [255, 64, 96],
    [48, 160, 255],
    [64, 208, 96],
    [255, 176, 32],
    [176, 96, 255],
    [32, 208, 208],
    [255, 112, 208],
    [208, 224, 48],
];
/// How much of the colour lies over the photo inside the mask.
const TINT: f32 = 0.5;
/// The outline's width is the photo's smaller side divided by this, at least one pixel.
const OUTLINE: usize = 250;

/// Probabilities as grey: 0 is black, 1 white.
pub fn probability_png(probabilities: &[f32], photo: &Photo) -> Result<Vec<u8>> {
    let grey: Vec<u8> =
        probabilities.iter().map(|&probability| (probability * 255.0).round() as u8).collect();
    png(&grey, photo, ExtendedColorType::L8)
}

/// The mask in white on black.
pub fn mask_png(mask: &[bool], photo: &Photo) -> Result<Vec<u8>> {
    let grey: Vec<u8> = mask.iter().map(|&inside| if inside { 255 } else { 0 }).collect();
    png(&grey, photo, ExtendedColorType::L8)
}

/// The photo with the mask tinted and outlined in the colour of prompt `prompt`.
pub fn overlay_png(mask: &[bool], photo: &Photo, prompt: usize) -> Result<Vec<u8>> {
    png(&overlay(mask, photo, prompt), photo, ExtendedColorType::Rgb8)
}

/// As [`overlay_png`], as red, green and blue bytes.
pub fn overlay(mask: &[bool], photo: &Photo, prompt: usize) -> Vec<u8> {
    let (width, height) = (photo.width(), photo.height());
    let colour = PALETTE[prompt % PALETTE.len()];
    let reach = (width.min(height) / OUTLINE).max(1);
    let inside = |x: usize, y: usize| mask[y * width + x];
    let mut rgb = photo.rgb().to_vec();
    let (pixels, _) = rgb.as_chunks_mut::<3>();
    for (place, pixel) in pixels.iter_mut().enumerate().filter(|&(place, _)| mask[place]) {
        let (x, y) = (place % width, place / width);
        let is_within = inside(x.saturating_sub(reach), y)
            && inside((x + reach).min(width - 1), y)
            && inside(x, y.saturating_sub(reach))
            && inside(x, (y + reach).min(height - 1));
        let share = if is_within { TINT } else { 1.0 };
        for (value, colour) in pixel.iter_mut().zip(colour) {
            *value = (f32::from(*value) * (1.0 - share) + f32::from(colour) * share).round() as u8;
        }
    }
    rgb
}

fn png(pixels: &[u8], photo: &Photo, colour: ExtendedColorType) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let (width, height) = (u32::try_from(photo.width())?, u32::try_from(photo.height())?);
    PngEncoder::new(&mut file).write_image(pixels, width, height, colour)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(png: &[u8]) -> Vec<u8> {
        image::load_from_memory(png).unwrap().into_bytes()
    }

    #[test]
    fn probabilities_and_masks_are_grey() {
        let photo = Photo::from_rgb(3, 1, vec![0; 9]).unwrap();
        assert_eq!(decoded(&probability_png(&[0.0, 0.5, 1.0], &photo).unwrap()), [0, 128, 255]);
        assert_eq!(decoded(&mask_png(&[false, true, true], &photo).unwrap()), [0, 255, 255]);
    }

    #[test]
    fn overlays_keep_the_photo_outside_the_mask() {
        let photo = Photo::from_rgb(5, 5, vec![100; 75]).unwrap();
        let mask: Vec<_> =
            (0..25).map(|place| (1..4).contains(&(place % 5)) && (1..4).contains(&(place / 5))).collect();
        let rgb = decoded(&overlay_png(&mask, &photo, 0).unwrap());
        let pixel = |x: usize, y: usize| &rgb[(y * 5 + x) * 3..][..3];
        assert_eq!(pixel(0, 2), [100; 3]);
        assert_eq!(pixel(1, 2), PALETTE[0]);
        assert_eq!(pixel(2, 2), [178, 82, 98]);
    }
}
