//! Pictures of a segmentation, encoded as PNG.

use std::io::BufReader;
use std::path::Path;

use anyhow::Result;
use clipseg::Photo;
use clipseg::masks::{LabelMap, Mask, OVERLAY_COLOURS};
use png::{BitDepth, ColorType, Compression, Filter};

/// How much of the colour lies over the photo inside the mask.
const TINT: f32 = 0.5;
/// What the pictures say made them, under PNG's keyword for that.
const SOFTWARE: (&str, &str) = ("Software", "clipseg");
/// The outline's width is the photo's smaller side divided by this, at least one pixel.
const OUTLINE: usize = 250;

/// Whether a file is a picture that this program wrote: a result, and not a photo.
pub fn is_ours(path: &Path) -> bool {
    let Ok(file) = clipseg_files::open(path) else { return false };
    let Ok(reader) = png::Decoder::new(BufReader::new(file)).read_info() else { return false };
    let texts = &reader.info().uncompressed_latin1_text;
    texts.iter().any(|text| (text.keyword.as_str(), text.text.as_str()) == SOFTWARE)
}

/// Probabilities as grey: 0 is black, 1 white.
pub fn probability_png(probabilities: &[f32], photo: &Photo) -> Result<Vec<u8>> {
    let grey: Vec<u8> =
        probabilities.iter().map(|&probability| (probability * 255.0).round() as u8).collect();
    png(&grey, size(photo), ColorType::Grayscale, BitDepth::Eight)
}

/// Probabilities as 16-bit grey: 0 is black, 1 white (65535).
pub fn probability16_png(probabilities: &[f32], photo: &Photo) -> Result<Vec<u8>> {
    let level = |&probability: &f32| ((probability * 65535.0).round() as u16).to_be_bytes();
    let grey: Vec<u8> = probabilities.iter().flat_map(level).collect();
    png(&grey, size(photo), ColorType::Grayscale, BitDepth::Sixteen)
}

/// The mask in white on black.
pub fn mask_png(mask: &[bool], photo: &Photo) -> Result<Vec<u8>> {
    let grey: Vec<u8> = mask.iter().map(|&inside| if inside { 255 } else { 0 }).collect();
    png(&grey, size(photo), ColorType::Grayscale, BitDepth::Eight)
}

/// The photo with the mask tinted and outlined in the colour of prompt `prompt`.
pub fn overlay_png(mask: &Mask, photo: &Photo, prompt: usize) -> Result<Vec<u8>> {
    png(&overlay(mask, photo, prompt)?, size(photo), ColorType::Rgb, BitDepth::Eight)
}

/// Labels as the pixels' values: with a palette of the overlays' colours where a byte holds them, otherwise
/// as 16-bit grey.
pub fn labels_png(map: &LabelMap) -> Result<Vec<u8>> {
    let size = (map.width(), map.height());
    let Some(bytes) = map.to_bytes() else {
        let grey: Vec<u8> = map.labels().iter().flat_map(|label| label.to_be_bytes()).collect();
        return png(&grey, size, ColorType::Grayscale, BitDepth::Sixteen);
    };
    let palette: Vec<u8> = (0..=map.count()).flat_map(label_colour).collect();
    encode(&bytes, size, |encoder| {
        encoder.set_color(ColorType::Indexed);
        encoder.set_palette(palette);
    })
}

/// The colour of a label in [`labels_png`]: black for the background, and the prompts' as in the overlays.
pub fn label_colour(label: u16) -> [u8; 3] {
    label.checked_sub(1).map_or([0; 3], |prompt| colour(usize::from(prompt)))
}

/// The colour of prompt `prompt`, which comes again every eighth prompt.
fn colour(prompt: usize) -> [u8; 3] {
    OVERLAY_COLOURS[prompt % OVERLAY_COLOURS.len()]
}

/// As [`overlay_png`], as red, green and blue bytes.
pub fn overlay(mask: &Mask, photo: &Photo, prompt: usize) -> Result<Vec<u8>> {
    let outline = (photo.width().min(photo.height()) / OUTLINE).max(1);
    Ok(mask.laid_over(photo.rgb(), colour(prompt), TINT, outline)?)
}

/// Red, green and blue bytes of `width` columns.
pub fn rgb_png(rgb: &[u8], width: usize, height: usize) -> Result<Vec<u8>> {
    png(rgb, (width, height), ColorType::Rgb, BitDepth::Eight)
}

fn size(photo: &Photo) -> (usize, usize) {
    (photo.width(), photo.height())
}

fn png(pixels: &[u8], size: (usize, usize), colour: ColorType, depth: BitDepth) -> Result<Vec<u8>> {
    encode(pixels, size, |encoder| {
        encoder.set_color(colour);
        encoder.set_depth(depth);
        encoder.set_compression(Compression::Fast);
        encoder.set_filter(Filter::Adaptive);
    })
}

/// A PNG file of the given columns and rows, which says that it is [ours](is_ours).
fn encode(
    pixels: &[u8],
    (width, height): (usize, usize),
    configure: impl FnOnce(&mut png::Encoder<'_, &mut Vec<u8>>),
) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(width)?, u32::try_from(height)?);
    encoder.add_text_chunk(SOFTWARE.0.to_owned(), SOFTWARE.1.to_owned())?;
    configure(&mut encoder);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use clipseg::{MaskValues, Overlay};

    use super::*;

    fn decoded(png: &[u8]) -> Vec<u8> {
        image::load_from_memory(png).unwrap().into_bytes()
    }

    #[test]
    fn probabilities_and_masks_are_grey() {
        let photo = Photo::from_rgb(3, 1, vec![0; 9]).unwrap();
        assert_eq!(decoded(&probability_png(&[0.0, 0.5, 1.0], &photo).unwrap()), [0, 128, 255]);
        let deep = image::load_from_memory(&probability16_png(&[0.0, 0.5, 1.0], &photo).unwrap()).unwrap();
        assert_eq!(deep.as_luma16().unwrap().as_raw(), &[0, 32768, 65535]);
        assert_eq!(decoded(&mask_png(&[false, true, true], &photo).unwrap()), [0, 255, 255]);
    }

    #[test]
    fn our_pictures_are_known_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let photo = Photo::from_rgb(3, 1, vec![0; 9]).unwrap();
        let mut map = LabelMap::new(3, 1).unwrap();
        map.add(&Mask::new(3, 1, vec![true; 3]).unwrap(), &[0.5; 3]).unwrap();
        let path = folder.path().join("picture");
        for ours in [
            probability_png(&[0.0; 3], &photo),
            probability16_png(&[0.0; 3], &photo),
            mask_png(&[true; 3], &photo),
            overlay_png(&Mask::new(3, 1, vec![true; 3]).unwrap(), &photo, 0),
            labels_png(&map),
        ] {
            std::fs::write(&path, ours.unwrap()).unwrap();
            assert!(is_ours(&path));
        }
        image::RgbImage::new(3, 1).save_with_format(&path, image::ImageFormat::Png).unwrap();
        assert!(!is_ours(&path));
        for other in [&b""[..], b"\x89PNG\r\n\x1a\n", b"not a picture"] {
            std::fs::write(&path, other).unwrap();
            assert!(!is_ours(&path));
        }
        assert!(!is_ours(folder.path()) && !is_ours(&folder.path().join("missing")));
    }

    /// The stored values, which decoders of pictures turn into colours.
    fn stored(png: &[u8]) -> (ColorType, Option<Vec<u8>>, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let info = reader.info();
        (info.color_type, info.palette.as_ref().map(|palette| palette.to_vec()), pixels)
    }

    #[test]
    fn labels_are_stored_as_they_are() {
        let mut map = LabelMap::new(3, 1).unwrap();
        let mut mark = |pixels: [bool; 3], probability| {
            map.add(&Mask::new(3, 1, pixels.to_vec()).unwrap(), &[probability; 3]).unwrap();
            stored(&labels_png(&map).unwrap())
        };
        mark([false, true, true], 0.5);
        let (colour, palette, pixels) = mark([false, false, true], 0.6);
        assert_eq!((colour, pixels), (ColorType::Indexed, vec![0, 1, 2]));
        assert_eq!(palette.unwrap(), [[0; 3], OVERLAY_COLOURS[0], OVERLAY_COLOURS[1]].concat());
        for _ in 2..255 {
            assert_eq!(mark([true; 3], 0.0).0, ColorType::Indexed);
        }
        // 256 in the first pixel, and bytes in the order of PNG.
        let (colour, palette, pixels) = mark([true, false, false], 0.7);
        assert_eq!((colour, palette, pixels), (ColorType::Grayscale, None, vec![1, 0, 0, 1, 0, 2]));
    }

    /// A program that draws on the GPU shows what this one saves.
    #[test]
    fn overlays_are_those_of_the_library_by_default() {
        let Overlay { colour, opacity, values, outline } = Overlay::default();
        assert_eq!((colour, opacity, values), (OVERLAY_COLOURS[0], TINT, MaskValues::Threshold(0.5)));
        let photo = Photo::from_rgb(5, 5, vec![100; 75]).unwrap();
        let mask: Vec<_> =
            (0..25).map(|place| (1..4).contains(&(place % 5)) && (1..4).contains(&(place / 5))).collect();
        let mask = Mask::new(5, 5, mask).unwrap();
        let expected = mask.laid_over(photo.rgb(), colour, opacity, outline as usize).unwrap();
        assert_eq!(decoded(&overlay_png(&mask, &photo, 0).unwrap()), expected);
    }
}
