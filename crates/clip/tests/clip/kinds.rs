//! Compares pictures of every kind with Pillow.

use std::fs;
use std::path::PathBuf;

use clipseg_clip::{Checkpoint, Orientation, Photo, PhotoFile};
use clipseg_testing::fixture;
use proptest::prelude::*;

/// Kinds that are refused by name, with a part of the message.
const REFUSED: [(&str, &str); 4] = [
    ("fax-3.tif", "group 3"),
    ("float-16.tif", "floating-point values of 16 bits"),
    ("float-64.tif", "floating-point values of 64 bits"),
    ("lab.tif", "L*a*b*"),
];

#[test]
fn pictures_of_every_kind_decode_as_in_pillow() {
    let expected = Checkpoint::open(fixture("processor/kinds.safetensors")).unwrap();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for path in files() {
        let name = path.file_name().unwrap().to_str().unwrap();
        for (view, orientation) in [("stored", Orientation::Ignore), ("upright", Orientation::Apply)] {
            let photo = Photo::open(&path, orientation);
            if let Some((_, part)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
                let message = photo.unwrap_err().to_string();
                assert!(message.contains(part) && message.contains(name), "{message}");
                continue;
            }
            let photo = photo.unwrap();
            // Some kinds cannot be read by Pillow.
            let Some(expected) = expected.get(&format!("{view}/{name}")) else { continue };
            assert_eq!([photo.height(), photo.width(), 3], expected.shape(), "{view}/{name}");
            if photo.rgb() != expected.bytes().unwrap() {
                wrong.push(format!("{view}/{name}"));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(compared, 2 * 108);
}

/// The decoder of PNGs panics on a palette that ends within a colour.
#[test]
fn a_palette_that_is_not_whole_is_refused() {
    let mut file = fs::read(fixture("processor/palette.png")).unwrap();
    let palette = file.windows(4).position(|four| four == b"PLTE").unwrap();
    let length = u32::from_be_bytes(file[palette - 4..palette].try_into().unwrap()) - 1;
    file[palette - 4..palette].copy_from_slice(&length.to_be_bytes());
    file.remove(palette + 4 + length as usize);
    let message = Photo::from_bytes(&file, Orientation::Apply).unwrap_err().to_string();
    assert!(message.contains("palette"), "{message}");
}

/// What a JPEG is, where Pillow does not read it either, and a PNG as Xcode rewrites it.
#[test]
fn kinds_that_are_not_read_are_called_what_they_are() {
    let jpeg = fs::read(fixture("processor/jpegs/cmyk-420.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    let with = |place: usize, byte: u8| {
        let mut file = jpeg.clone();
        file[frame + place] = byte;
        file
    };
    let mut png = fs::read(fixture("processor/palette.png")).unwrap();
    png.splice(8..8, *b"\0\0\0\x04CgBI\x50\0\x20\x02\0\0\0\0");
    for (file, name) in [
        (with(4, 12), "a JPEG with other than 8 bits per value"),
        (with(1, 0xc5), "a hierarchical JPEG"),
        (with(1, 0xcb), "a lossless JPEG with arithmetic coding"),
        (with(1, 0xfe), "a JPEG without a frame"),
        (png, "for iPhones"),
    ] {
        let message = Photo::from_bytes(&file, Orientation::Apply).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
}

/// A PNG may have its orientation after its pixels.
#[test]
fn orientations_after_the_pixels_are_found() {
    let whole = fs::read(fixture("processor/orientation-6.png")).unwrap();
    let start = whole.windows(4).position(|four| four == b"eXIf").unwrap() - 4;
    let length = u32::from_be_bytes(whole[start..start + 4].try_into().unwrap()) as usize + 12;
    let mut moved = [&whole[..start], &whole[start + length..]].concat();
    // Before the last chunk, which has 12 bytes.
    moved.splice(moved.len() - 12..moved.len() - 12, whole[start..start + length].iter().copied());
    let upright = Photo::from_bytes(&whole, Orientation::Apply).unwrap();
    assert_eq!(Photo::from_bytes(&moved, Orientation::Apply).unwrap(), upright);
    assert_ne!(Photo::from_bytes(&moved, Orientation::Ignore).unwrap(), upright);
}

/// A copy or a download that was cut off may lack the end alone.
#[test]
fn a_png_without_its_end_is_read_and_one_without_pixels_is_not() {
    let whole = fs::read(fixture("processor/rgb-alpha.png")).unwrap();
    let photo = PhotoFile::from_bytes(&whole, Orientation::Apply).unwrap();
    // The last chunk has 12 bytes, and the checksum before it 4.
    for left_out in 1..=12 {
        let cut = &whole[..whole.len() - left_out];
        assert_eq!(PhotoFile::from_bytes(cut, Orientation::Apply).unwrap(), photo, "{left_out}");
    }
    for left_out in [13, 17, 40, 100] {
        let message =
            PhotoFile::from_bytes(&whole[..whole.len() - left_out], Orientation::Apply).unwrap_err();
        assert!(message.to_string().contains("is damaged"), "{message}");
    }
    // Some rows, and an end.
    let size = whole.windows(4).position(|four| four == b"IHDR").unwrap() + 8;
    let mut taller = whole.clone();
    taller[size + 3] += 1;
    assert!(PhotoFile::from_bytes(&taller[..whole.len() - 12], Orientation::Apply).is_err());
}

/// ImageMagick, and what is built on it, writes the EXIF block as a text.
#[test]
fn orientations_in_a_text_are_heeded() {
    let whole = fs::read(fixture("processor/orientation-6.png")).unwrap();
    let start = whole.windows(4).position(|four| four == b"eXIf").unwrap() - 4;
    let length = u32::from_be_bytes(whole[start..start + 4].try_into().unwrap()) as usize;
    let digits: String = whole[start + 8..][..length].iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("Raw profile type exif\0\nexif\n{length:8}\n{digits}\n");
    let size = u32::try_from(text.len()).unwrap().to_be_bytes();
    // Readers of PNG do not check the sum of a text, or pass over the text.
    let chunk = [&size, b"tEXt", text.as_bytes(), &[0; 4]].concat();
    let changed = [&whole[..start], &chunk, &whole[start + length + 12..]].concat();
    let upright = Photo::from_bytes(&whole, Orientation::Apply).unwrap();
    assert_eq!(Photo::from_bytes(&changed, Orientation::Apply).unwrap(), upright);
    assert_ne!(Photo::from_bytes(&changed, Orientation::Ignore).unwrap(), upright);
}

#[test]
fn previews_of_raw_files_are_not_taken_for_photos() {
    // One entry: DNGVersion, four bytes.
    let dng = b"II*\0\x08\0\0\0\x01\0\x12\xc6\x01\0\x04\0\0\0\x01\x04\0\0\0\0\0\0";
    let message = Photo::from_bytes(dng, Orientation::Apply).unwrap_err().to_string();
    assert!(message.contains("raw file") && message.contains("develop it"), "{message}");
}

#[test]
fn what_is_cut_off_and_what_is_opaque_is_told() {
    let open =
        |name: &str| PhotoFile::open(fixture("processor/kinds").join(name), Orientation::Apply).unwrap();
    for (name, is_clipped) in [
        ("grey-16-little.tif", true),
        ("float-big.tif", true),
        ("grey-8.tif", false),
        ("rgb-16-big.tif", false),
    ] {
        assert_eq!(open(name).is_clipped, is_clipped, "{name}");
    }
    // Of 16 bits the upper 8 are kept, in which these have nothing.
    for largest in [0_u16, 255, 256] {
        let rgb =
            image::ImageBuffer::<image::Rgb<u16>, _>::from_raw(2, 1, vec![0, 0, 0, largest, 0, 0]).unwrap();
        for format in [image::ImageFormat::Png, image::ImageFormat::Tiff] {
            let mut bytes = std::io::Cursor::new(Vec::new());
            rgb.write_to(&mut bytes, format).unwrap();
            let file = PhotoFile::from_bytes(bytes.get_ref(), Orientation::Apply).unwrap();
            assert_eq!(file.is_clipped, largest == 255, "{largest} {format:?}");
        }
    }
    for (name, has_alpha) in [("rgb-alpha.tif", true), ("grey-alpha.tif", true), ("rgb-unknown.tif", false)] {
        let file = open(name);
        assert_eq!(file.alpha.is_some(), has_alpha, "{name}");
        let pixels = file.photo.width() * file.photo.height();
        assert!(file.alpha.is_none_or(|alpha| alpha.len() == pixels && alpha.iter().any(|&a| a != alpha[0])));
    }
    let png = PhotoFile::open(fixture("processor/rgb-alpha.png"), Orientation::Apply).unwrap();
    let rgba = image::open(fixture("processor/rgb-alpha.png")).unwrap().into_rgba8();
    assert_eq!(png.alpha.unwrap(), rgba.pixels().map(|pixel| pixel.0[3]).collect::<Vec<_>>());
}

/// Every file of the folder, in a fixed order.
fn files() -> Vec<PathBuf> {
    let folders = ["processor/kinds", "processor/jpegs"].map(|name| fs::read_dir(fixture(name)).unwrap());
    let mut files: Vec<_> = folders.into_iter().flatten().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A damaged file is refused or read, but never causes a panic.
    #[test]
    fn damage_is_survived(
        file in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let files = files();
        let mut bytes = fs::read(file.get(&files)).unwrap();
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if is_cut {
            bytes.truncate(length.index(bytes.len()));
        }
        let _ = Photo::from_bytes(&bytes, Orientation::Apply);
    }
}
