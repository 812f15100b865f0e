//! Compares pixels with Pillow's and those of transformers' `ViTImageProcessor`; tests pictures that must be
//! refused.

use std::io::Cursor;

use clipseg_clip::{
    Checkpoint, Error, Orientation, Photo, PhotoFile, PixelFormat, PreprocessorConfig, Processor, Resample,
};
use clipseg_testing::fixture;
use image::{ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use proptest::prelude::*;

/// What Pillow and transformers computed, by name.
fn expected() -> Checkpoint {
    Checkpoint::open(fixture("processor/expected.safetensors")).unwrap()
}

fn open(name: &str, orientation: Orientation) -> Photo {
    Photo::open(fixture(name), orientation).unwrap()
}

/// The upper left corner of the noise image, from which all cases are cut.
fn noise(width: usize, height: usize) -> Photo {
    let noise = open("processor/noise.png", Orientation::Ignore);
    let rows = noise.rgb().chunks(noise.width() * 3).take(height);
    Photo::from_rgb(width, height, rows.flat_map(|row| &row[..width * 3]).copied().collect()).unwrap()
}

/// Parses `61x47` as width and height.
fn size(text: &str) -> (usize, usize) {
    let (width, height) = text.split_once('x').unwrap();
    (width.parse().unwrap(), height.parse().unwrap())
}

/// Pixels in every format and with any row padding give the same picture as packed RGB.
#[test]
fn pixels_of_other_programs_are_repacked() {
    let photo = noise(13, 7);
    let (pixels, _) = photo.rgb().as_chunks::<3>();
    type Pack = fn(&[u8; 3]) -> Vec<u8>;
    let formats: [(PixelFormat, Pack); 4] = [
        (PixelFormat::Rgb8, |rgb| rgb.to_vec()),
        (PixelFormat::Bgr8, |&[r, g, b]| vec![b, g, r]),
        (PixelFormat::Rgba8, |&[r, g, b]| vec![r, g, b, 77]),
        (PixelFormat::Bgra8, |&[r, g, b]| vec![b, g, r, 0]),
    ];
    for (format, pack) in formats {
        let row = 13 * format.bytes();
        assert_eq!(pack(&[1, 2, 3]).len(), format.bytes());
        for row_bytes in [row, row + 1, 256] {
            let mut bytes = Vec::new();
            for pixels in pixels.chunks(13) {
                bytes.extend(pixels.iter().flat_map(pack));
                bytes.resize(bytes.len() + row_bytes - row, 99);
            }
            let whole = Photo::from_pixels(format, 13, 7, &bytes, row_bytes).unwrap();
            assert_eq!(whole, photo, "{format:?}, {row_bytes}");
            // The last row may lack its padding, but nothing else.
            let least = 6 * row_bytes + row;
            assert_eq!(Photo::from_pixels(format, 13, 7, &bytes[..least], row_bytes).unwrap(), photo);
            assert!(Photo::from_pixels(format, 13, 7, &bytes[..least - 1], row_bytes).is_err());
        }
    }
    let grey = Photo::from_pixels(PixelFormat::Gray8, 2, 2, &[1, 2, 0, 3, 4], 3).unwrap();
    assert_eq!(grey.rgb(), [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
}

#[test]
fn pixels_that_are_not_there_are_refused() {
    let huge = usize::MAX;
    for (width, height, row_bytes) in [
        (0, 1, 4),
        (1, 0, 4),
        (2, 1, 7),
        (1, 3, 4),
        (huge, 1, huge),
        (1, huge, huge),
        (huge, huge, 0),
        (1, 1, 0),
    ] {
        let error = Photo::from_pixels(PixelFormat::Rgba8, width, height, &[0; 8], row_bytes).unwrap_err();
        assert!(matches!(&error, Error::Image { .. }), "{error:?}");
        assert!(error.to_string().contains("Rgba8 need"), "{error}");
    }
    let many = vec![0; 178_956_971];
    let error = Photo::from_pixels(PixelFormat::Gray8, many.len(), 1, &many, many.len()).unwrap_err();
    assert!(error.to_string().contains("more than the 178956970 allowed"), "{error}");
}

#[test]
fn files_decode_as_in_pillow() {
    let expected = expected();
    let mut checked = 0;
    for name in expected.names() {
        let (file, orientation) = match name.split_once('/').unwrap() {
            ("stored", file) => (file, Orientation::Ignore),
            ("upright", file) => (file, Orientation::Apply),
            _ => continue,
        };
        let (photo, view) = (open(&format!("processor/{file}"), orientation), expected.get(name).unwrap());
        assert_eq!([photo.height(), photo.width(), 3], view.shape(), "{name}");
        assert_eq!(photo.rgb(), view.bytes().unwrap(), "{name}");
        checked += 1;
    }
    assert_eq!(checked, 40);
}

#[test]
fn the_size_of_a_file_is_told_without_decoding_it() {
    let folder = fixture("processor");
    let names = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    let mut count = 0;
    for path in [names(&folder), names(&folder.join("kinds"))].concat() {
        let Ok(photo) = Photo::open(&path, Orientation::Ignore) else { continue };
        let size = PhotoFile::stored_size(&path).unwrap();
        let (width, height) = (photo.width(), photo.height());
        // TIFFs are always turned.
        let is_tiff = path.extension().unwrap() == "tif";
        let turned = is_tiff && size == (height, width);
        assert!(size == (width, height) || turned, "{}: {size:?}", path.display());
        count += 1;
    }
    assert!(count > 50, "{count}");
    for path in [folder.join("README.md"), folder.join("missing.png")] {
        let error = PhotoFile::stored_size(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn resize_equals_pillow_bit_for_bit() {
    let expected = expected();
    let filters = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];
    let mut checked = 0;
    for name in expected.names().filter(|name| name.starts_with("resized/")) {
        let parts: Vec<_> = name.split('/').collect();
        let ((width, height), (to_width, to_height)) = (size(parts[1]), size(parts[2]));
        let filter = filters.iter().position(|&filter| filter == parts[3]).unwrap();
        let resized =
            noise(width, height).resized(to_width, to_height, Resample::try_from(filter as u8).unwrap());
        assert_eq!((resized.width(), resized.height()), (to_width, to_height));
        assert_eq!(resized.rgb(), expected.get(name).unwrap().bytes().unwrap(), "{name}");
        checked += 1;
    }
    assert_eq!(checked, 13 * 6);
}

#[test]
fn real_photos_equal_pillow_bit_for_bit() {
    for name in ["chelsea.png", "coffee.jpg"] {
        let photo =
            open(&format!("photos/{name}"), Orientation::Ignore).resized(352, 352, Resample::Bilinear);
        let every_seventh: Vec<u8> = photo.rgb().chunks(352 * 3).step_by(7).flatten().copied().collect();
        assert_eq!(
            every_seventh,
            expected().get(&format!("photo/{name}")).unwrap().bytes().unwrap(),
            "{name}"
        );
    }
}

#[test]
fn pixel_values_equal_transformers() {
    let imagenet = r#""image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]"#;
    let size = r#""size": {"height": 20, "width": 24}"#;
    for (name, config) in [
        ("defaults", format!("{{{size}}}")),
        ("imagenet", format!("{{{size}, {imagenet}}}")),
        ("no-resize", format!(r#"{{"do_resize": false, {imagenet}}}"#)),
        ("no-rescale", format!(r#"{{{size}, "do_rescale": false}}"#)),
        ("no-normalize", format!(r#"{{{size}, "do_normalize": false, "rescale_factor": 0.01}}"#)),
    ] {
        let processor = Processor::new(PreprocessorConfig::from_json(&config).unwrap()).unwrap();
        let pixels = processor.preprocess(&noise(40, 30));
        let expected = expected();
        let view = expected.get(&format!("pixel_values/{name}")).unwrap();
        assert_eq!([3, pixels.height, pixels.width], view.shape(), "{name}");
        assert_eq!(pixels.values, view.to_f32().unwrap(), "{name}");
    }
}

/// Encodes a picture as PNG and decodes it.
fn through_png<P>(picture: &ImageBuffer<P, Vec<P::Subpixel>>) -> Photo
where
    P: image::Pixel + image::PixelWithColorType,
    [P::Subpixel]: image::EncodableLayout,
{
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).unwrap();
    Photo::from_bytes(png.get_ref(), Orientation::Apply).unwrap()
}

/// Pillow cannot write these, but reads them.
#[test]
fn of_sixteen_bits_the_upper_eight_are_kept() {
    let rgb = ImageBuffer::from_pixel(1, 1, Rgb([0x1234_u16, 0x00ff, 0xffff]));
    assert_eq!(through_png(&rgb).rgb(), [0x12, 0, 0xff]);
    let rgba = ImageBuffer::from_pixel(1, 1, Rgba([0x1234_u16, 0x00ff, 0xffff, 0]));
    assert_eq!(through_png(&rgba).rgb(), [0x12, 0, 0xff]);
    let grey_alpha = ImageBuffer::from_pixel(1, 1, LumaA([0x8070_u16, 0]));
    assert_eq!(through_png(&grey_alpha).rgb(), [0x80; 3]);
    let grey = ImageBuffer::from_pixel(1, 1, Luma([0x0100_u16]));
    assert_eq!(through_png(&grey).rgb(), [255; 3], "Pillow cuts 16-bit grey off at 255");
}

#[test]
fn what_is_no_picture_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        Photo::open(folder.path().join(name), Orientation::Apply).unwrap_err().to_string()
    };
    let text = refused("text.jpg", b"hello");
    assert!(text.contains("text.jpg: is not a picture of a known format; known are JPEG, PNG"), "{text}");
    assert!(refused("empty.png", b"").contains("empty.png: is not a picture"));
    for name in ["photos/coffee.jpg", "photos/chelsea.png"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let half = refused("half", &whole[..whole.len() / 2]);
        assert!(half.contains("half: is damaged"), "{half}");
    }
    // A GIF of 65535 × 65535 pixels in 35 bytes.
    let bomb = refused(
        "bomb.gif",
        b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    );
    assert!(bomb.contains("4294836225 pixels, more than the 178956970 allowed"), "{bomb}");
    let missing = Photo::open(folder.path().join("missing.png"), Orientation::Apply).unwrap_err().to_string();
    assert!(missing.contains("cannot read") && missing.contains("missing.png"), "{missing}");
    assert!(Photo::open(folder.path(), Orientation::Apply).unwrap_err().to_string().contains("is a folder"));
    for (width, height, bytes) in [(0, 1, 0), (2, 2, 11), (usize::MAX, 2, 12)] {
        assert!(Photo::from_rgb(width, height, vec![0; bytes]).is_err());
    }
}

proptest! {
    /// A picture of one colour keeps that colour with every filter and at any size.
    #[test]
    fn one_colour_stays(
        from in (1_usize..80, 1_usize..80), to in (1_usize..80, 1_usize..80),
        colour in any::<[u8; 3]>(), filter in 0_u8..6,
    ) {
        let photo = Photo::from_rgb(from.0, from.1, colour.repeat(from.0 * from.1)).unwrap();
        let resized = photo.resized(to.0, to.1, Resample::try_from(filter).unwrap());
        prop_assert_eq!(resized.rgb(), colour.repeat(to.0 * to.1));
    }

    #[test]
    fn damaged_pictures_never_panic(
        file in prop::sample::select(vec!["420.jpg", "444-progressive.jpg", "cmyk.jpg", "palette.png", "grey-16.png"]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = std::fs::read(fixture("processor").join(file)).unwrap();
        for (position, byte) in damage {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        let _ = Photo::from_bytes(&bytes, Orientation::Apply);
        bytes.truncate(length.index(bytes.len()));
        let _ = Photo::from_bytes(&bytes, Orientation::Apply);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in 0_usize..6) {
        let magic: &[u8] = [b"".as_slice(), b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"][magic];
        let _ = Photo::from_bytes(&[magic, &bytes].concat(), Orientation::Apply);
    }
}
