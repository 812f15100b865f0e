//! Masks that users supply: pictures that are white where an object is.

use std::path::Path;

use anyhow::{Result, ensure};
use clipseg::{Orientation, Photo, PhotoFile};

/// The value from which grey counts as white.
const WHITE: u8 = 128;
/// How far the channels of a pixel may lie apart: a JPEG of a grey picture may come out a little coloured.
const TINGE: u8 = 16;

/// Reads where the object is in `photo`: a grey picture of its size, white there. What cannot be meant so is
/// refused, since a mask that is read otherwise than it was meant gives wrong results without a word.
pub fn read(path: &Path, photo: &Photo, orientation: Orientation) -> Result<Vec<bool>> {
    let file = PhotoFile::open(path, orientation)?;
    let mask = &file.photo;
    ensure!(
        (mask.width(), mask.height()) == (photo.width(), photo.height()),
        "{}: is {} × {} pixels, but its photo is {} × {}",
        path.display(),
        mask.width(),
        mask.height(),
        photo.width(),
        photo.height()
    );
    marked_in(path, &file)
}

/// The columns and rows of a mask as it is stored. Refuses what [`read`] refuses, whatever photo it is of.
pub fn checked_size(path: &Path) -> Result<(usize, usize)> {
    let file = PhotoFile::open(path, Orientation::Ignore)?;
    marked_in(path, &file)?;
    Ok((file.photo.width(), file.photo.height()))
}

/// Where the file is white.
fn marked_in(path: &Path, file: &PhotoFile) -> Result<Vec<bool>> {
    let PhotoFile { photo: mask, alpha, is_clipped, .. } = file;
    let shown = path.display();
    ensure!(
        !is_clipped,
        "{shown}: holds values of more than 8 bits; save the mask with 8 bits, 255 where the object is and 0 elsewhere"
    );
    let pixels = mask.rgb().as_chunks::<3>().0;
    if let Some(place) = pixels.iter().position(is_coloured) {
        let [red, green, blue] = pixels[place];
        let (row, column) = (place / mask.width(), place % mask.width());
        anyhow::bail!(
            "{shown}: is coloured (red {red}, green {green}, blue {blue} in row {row}, column {column}), and what it \
             marks cannot be told; save the mask as grey, 255 where the object is and 0 elsewhere"
        );
    }
    let marked: Vec<_> = pixels.iter().map(|pixel| pixel[0] >= WHITE).collect();
    let largest = pixels.iter().map(|pixel| pixel[0]).max().unwrap_or_default();
    ensure!(
        largest == 0 || largest >= WHITE,
        "{shown}: its largest value is {largest}, so it marks nothing; white, where the object is, is 255: save the \
         mask with 255 there and 0 elsewhere"
    );
    let is_hidden = |(marked, alpha): (&bool, &u8)| *marked && *alpha < WHITE;
    ensure!(
        !alpha.as_ref().is_some_and(|alpha| marked.iter().zip(alpha).any(is_hidden)),
        "{shown}: has white that is transparent, and what it marks cannot be told; save the mask without \
         transparency, 255 where the object is and 0 elsewhere"
    );
    Ok(marked)
}

fn is_coloured(&[red, green, blue]: &[u8; 3]) -> bool {
    let [least, most] = [red.min(green).min(blue), red.max(green).max(blue)];
    most - least > TINGE
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage};

    use super::*;

    /// What is read of a mask of two pixels, a row.
    fn marked(name: &str, mask: impl Into<DynamicImage>) -> Result<Vec<bool>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        mask.into().save(&path).unwrap();
        let photo = Photo::from_rgb(2, 1, vec![0; 6]).unwrap();
        read(&path, &photo, Orientation::Apply).map_err(|error| error.to_string())
    }

    fn grey(values: [u8; 2]) -> GrayImage {
        GrayImage::from_raw(2, 1, values.to_vec()).unwrap()
    }

    #[test]
    fn white_is_where_the_object_is() {
        assert_eq!(marked("mask.png", grey([0, 255])), Ok(vec![false, true]));
        assert_eq!(marked("mask.png", grey([127, 128])), Ok(vec![false, true]));
        assert_eq!(marked("mask.png", grey([0, 0])), Ok(vec![false, false]));
        let tinged = RgbImage::from_fn(2, 1, |x, _| Rgb([[0, 4, 8], [250, 255, 244]][x as usize]));
        assert_eq!(marked("mask.bmp", tinged), Ok(vec![false, true]));
        let cut_out = ImageBuffer::from_fn(2, 1, |x, _| LumaA([[0_u8, 0], [255, 255]][x as usize]));
        assert_eq!(marked("mask.png", cut_out), Ok(vec![false, true]));
    }

    #[test]
    fn what_may_be_meant_otherwise_is_refused() {
        let coloured = RgbImage::from_fn(2, 1, |x, _| Rgb([[0, 0, 0], [0, 128, 0]][x as usize]));
        let deep = ImageBuffer::<Luma<u16>, _>::from_raw(2, 1, vec![0_u16, 40_000]).unwrap();
        let shallow = ImageBuffer::<Rgb<u16>, _>::from_raw(2, 1, vec![0_u16, 0, 0, 255, 255, 255]).unwrap();
        let in_alpha = ImageBuffer::from_fn(2, 1, |x, _| LumaA([[255_u8, 0], [255, 255]][x as usize]));
        for (mask, words) in [
            (DynamicImage::from(grey([0, 1])), &["largest value is 1", "white", "255"][..]),
            (coloured.into(), &["is coloured", "green 128", "row 0, column 1", "grey"]),
            (deep.into(), &["more than 8 bits", "save the mask with 8 bits"]),
            (shallow.into(), &["more than 8 bits", "save the mask with 8 bits"]),
            (in_alpha.into(), &["transparent", "without transparency"]),
            (GrayImage::new(1, 2).into(), &["1 × 2 pixels", "2 × 1"]),
        ] {
            let message = marked("mask.png", mask).unwrap_err();
            for word in ["mask.png"].iter().chain(words) {
                assert!(message.contains(word), "{word:?} is not in: {message}");
            }
        }
    }
}
