//! Compares pixels with Pillow's and those of transformers' `ViTImageProcessor`; tests settings, and pictures
//! that must be refused.

use std::io::Cursor;

use clipseg_clip::{
    Checkpoint, Error, ImageSize, Orientation, Photo, PhotoFile, PixelFormat, PreprocessorConfig, Processor,
    Resample,
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
fn settings_are_read_with_the_defaults_of_transformers() {
    let config = PreprocessorConfig::from_json(
        r#"{"feature_extractor_type": "ViTFeatureExtractor", "size": 352, "resample": 3, "image_mean": 0.4,
            "image_std": null}"#,
    )
    .unwrap();
    assert_eq!(config.size, ImageSize::Sides { height: 352, width: 352 });
    assert_eq!(config.resample, Resample::Bicubic);
    assert_eq!((config.image_mean, config.image_std), ([0.4; 3], [0.5; 3]));
    assert!(config.do_resize && config.do_rescale && config.do_normalize);
    assert_eq!(config.extra["feature_extractor_type"], "ViTFeatureExtractor");
    assert_eq!(PreprocessorConfig::from_json(&config.to_json()).unwrap(), config);
    assert_eq!(PreprocessorConfig::from_json("{}").unwrap(), PreprocessorConfig::default());
    for size in
        [r#"{"shortest_edge":9}"#, r#"{"shortest_edge":9,"longest_edge":20}"#, r#"{"longest_edge":20}"#]
    {
        let config =
            PreprocessorConfig::from_json(&format!(r#"{{"size": {size}, "do_resize": false}}"#)).unwrap();
        assert_eq!(PreprocessorConfig::from_json(&config.to_json()).unwrap(), config);
        assert_eq!(serde_json::to_string(&config.size).unwrap(), size);
    }

    for (config, message) in [
        (
            r#"{"size": {"shortest_edge": 224}}"#,
            "size: The `size` dictionary must contain the keys `height` and `width`",
        ),
        (r#"{"size": {"shortest_edge": 0}, "do_resize": false}"#, "size.shortest_edge = 0: must lie between"),
        (
            r#"{"size": {"height": 9, "longest_edge": 9}}"#,
            "size = {\"height\":9,\"longest_edge\":9}: must be",
        ),
        (r#"{"size": {"height": null}}"#, "size = {\"height\":null}: must be"),
        (r#"{"size": {}}"#, "size = {}: must be a whole number for a square"),
        (r#"{"size": [9, 9, 9]}"#, "size = [9,9,9]: must be a whole number for a square"),
        (r#"{"size": 0}"#, "size.height = 0: must lie between 1 and 8192"),
        (r#"{"size": {"height": 9, "width": 9000}}"#, "size.width = 9000"),
        (r#"{"resample": 6}"#, "resample = 6: must be Pillow's number of a filter: 0 nearest"),
        (r#"{"image_std": [1, 0, 1]}"#, "image_std = [1.0, 0.0, 1.0]: must be numbers that f32 can hold"),
        (r#"{"image_mean": [1, 0]}"#, "image_mean = [1,0]: must be a number, or a list of three"),
        (r#"{"do_resize": 1}"#, "do_resize = 1: must be true or false"),
        // Numbers that exceed f32, by themselves or in the computation.
        (r#"{"image_mean": 1e308}"#, "image_mean = [1e308, 1e308, 1e308]: must be numbers that f32 can hold"),
        (r#"{"image_std": 1e-320}"#, "none of them zero in it"),
        (r#"{"image_std": [1, 1e39, 1]}"#, "image_std = [1.0, 1e39, 1.0]: must be numbers that f32 can hold"),
        (r#"{"image_std": [1, 1e-44, 1]}"#, "the values of green exceed"),
        (r#"{"image_std": [0.5]}"#, "image_std = [0.5]: must be a number, or a list of three"),
        (r#"{"rescale_factor": 1e300}"#, "rescale_factor = 1e300: must be"),
        (r#"{"rescale_factor": 2e36}"#, "rescale_factor = 2e36: must be"),
        (r#"{"image_mean": [0.5, NaN, 0.5]}"#, "image_mean = [0.5,\"NaN\",0.5]: must be a number"),
        (r#"{"image_std": [1, 1e400, 1]}"#, "image_std = [1,\"1e400\",1]: must be a number"),
        (r#"{"rescale_factor": Infinity}"#, "rescale_factor = \"Infinity\": must be a number"),
        (r#"{"image_processor": {"size": 0}}"#, "image_processor.size.height = 0: must lie"),
        (r#"{"image_processor": {"do_resize": 1}}"#, "image_processor.do_resize = 1: must be true or false"),
        (r#"{"image_processor": 1}"#, "image_processor = 1: must be an object"),
        (
            r#"{"image_processor": {"do_center_crop": true, "crop_size": 224, "size": 352}}"#,
            "image_processor.do_center_crop = true: ",
        ),
    ] {
        let error = PreprocessorConfig::from_json(config).unwrap_err().to_string();
        assert!(error.contains(message), "{config}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let error = Processor::from_dir(folder.path()).unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json is missing"), "{error}");
}

/// The file that transformers 5 saves instead of `preprocessor_config.json`, here with every null that it may
/// have.
/// `curl` without `--fail` saves it under the file's name.
#[test]
fn an_errors_message_is_not_taken_for_settings() {
    let error = r#"{"error":"Invalid credentials in Authorization header"}"#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("preprocessor_config.json"), error).unwrap();
    for refused in [PreprocessorConfig::from_file(folder.path()), PreprocessorConfig::from_json(error)] {
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, Error::StandIn { .. }), "{refused}");
        assert!(refused.to_string().contains("(HF_TOKEN)"), "{refused}");
    }
}

#[test]
fn steps_that_releases_disagree_on_are_refused() {
    for step in ["do_resize", "do_rescale", "do_normalize"] {
        let message =
            PreprocessorConfig::from_json(&format!(r#"{{"{step}": null}}"#)).unwrap_err().to_string();
        assert!(message.contains(&format!("{step} = null: must be true or false")), "{message}");
    }
}

#[test]
fn the_processor_config_of_transformers_5_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let open = || Processor::from_dir(folder.path()).map(|processor| processor.config().clone());
    let nested = r#"{"image_processor": {"crop_size": null, "data_format": "channels_first", "device": null,
        "do_center_crop": null, "do_convert_rgb": null, "do_normalize": true, "do_rescale": null, "do_resize": null,
        "image_mean": [0.485, 0.456, 0.406], "image_processor_type": "ViTImageProcessorFast", "image_std": null,
        "input_data_format": null, "resample": 3, "rescale_factor": null, "return_tensors": null,
        "size": {"height": 352, "longest_edge": null, "shortest_edge": null, "width": 352}},
        "processor_class": "CLIPSegProcessor"}"#;
    write("processor_config.json", nested);
    let config = open().unwrap();
    let expected = PreprocessorConfig {
        size: ImageSize::Sides { height: 352, width: 352 },
        image_mean: [0.485, 0.456, 0.406],
        resample: Resample::Bicubic,
        ..PreprocessorConfig::default()
    };
    assert_eq!(PreprocessorConfig { extra: Default::default(), ..config.clone() }, expected);
    assert_eq!(config.extra["image_processor_type"], "ViTImageProcessorFast");
    assert_eq!(PreprocessorConfig::from_json(nested).unwrap(), config);
    assert_eq!(PreprocessorConfig::from_file(folder.path().join("processor_config.json")).unwrap(), config);

    // With both files there, they may differ in settings that do not matter.
    write("preprocessor_config.json", &expected.to_json());
    assert_eq!(open().unwrap().size, expected.size);
    write("preprocessor_config.json", r#"{"size": 224}"#);
    let message = open().unwrap_err().to_string();
    assert!(message.contains("processor_config.json: image_processor differs from preproc"), "{message}");
    // Releases before 5 do not write the image processor's settings there.
    for old in [r#"{"processor_class": "CLIPSegProcessor"}"#, r#"{"image_processor": null}"#] {
        write("processor_config.json", old);
        assert_eq!(open().unwrap().size, ImageSize::Sides { height: 224, width: 224 });
    }
    std::fs::remove_file(folder.path().join("preprocessor_config.json")).unwrap();
    let message = open().unwrap_err().to_string();
    assert!(
        message.contains("/preprocessor_config.json is missing")
            && message.contains("processor_config.json of"),
        "{message}"
    );
    write("processor_config.json", r#"{"image_processor": {"image_std": [0, 1, 1]}}"#);
    let message = open().unwrap_err().to_string();
    assert!(
        message.contains("processor_config.json: image_processor.image_std = [0.0, 1.0, 1.0]"),
        "{message}"
    );
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
