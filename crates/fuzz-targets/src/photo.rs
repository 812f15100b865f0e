use std::io::Cursor;

use clipseg_clip::fuzzing::pixels;
use clipseg_clip::{Orientation, Photo, PhotoFile};
use image::{ImageFormat, RgbImage};

use crate::check_refusal;

/// Pictures with more pixels are skipped: they may take seconds.
const MOST_PIXELS: u64 = 1 << 18;

/// Decodes the picture as stored and turned upright; written as a PNG, it must come back unchanged.
pub fn run(bytes: &[u8]) -> bool {
    if pixels(bytes).is_some_and(|pixels| pixels > MOST_PIXELS) {
        return false;
    }
    let [stored, upright] = [Orientation::Ignore, Orientation::Apply]
        .map(|orientation| PhotoFile::from_bytes(bytes, orientation));
    match (stored, upright) {
        (Ok(stored), Ok(upright)) => {
            let size = |file: &PhotoFile| (file.photo.width(), file.photo.height());
            let (width, height) = size(&stored);
            assert!([(width, height), (height, width)].contains(&size(&upright)));
            for PhotoFile { photo, alpha, .. } in [&stored, &upright] {
                assert_eq!(photo.rgb().len(), 3 * width * height);
                assert!(alpha.as_ref().is_none_or(|alpha| alpha.len() == width * height));
            }
            check_png(&stored.photo);
            true
        }
        (Err(stored), Err(upright)) => {
            assert_eq!(stored.to_string(), upright.to_string());
            check_refusal(&stored, bytes)
        }
        (stored, upright) => panic!("{:?} as it is stored, {:?} upright", stored.err(), upright.err()),
    }
}

fn check_png(photo: &Photo) {
    let (width, height) = (photo.width() as u32, photo.height() as u32);
    let picture = RgbImage::from_raw(width, height, photo.rgb().to_vec()).unwrap();
    let mut png = Vec::new();
    picture.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
    assert_eq!(Photo::from_bytes(&png, Orientation::Apply).expect("a PNG is read"), *photo);
}
