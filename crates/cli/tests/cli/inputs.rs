//! `tokenize` and `preprocess` against transformers 4.37.2.

use std::fs;

use crate::support::{Workspace, clipseg, fixture, succeed, tensor};

#[test]
fn ids_equal_transformers() {
    let model = fixture("clip-tokenizer");
    let model = model.to_str().unwrap();
    let lines = succeed(&["tokenize", "--model", model, "a photo of a cat", "Zwei Käsebrötchen, bitte! 猫"]);
    assert_eq!(
        lines,
        "49406 320 1125 539 320 2368 49407\n\
         49406 89 20952 74 10896 567 711 7255 83 8983 267 3010 756 256 163 234 360 49407\n"
    );
}

#[test]
fn a_long_text_is_cut_with_a_warning() {
    let model = fixture("clip-tokenizer");
    let long = "cat ".repeat(100);
    let output = clipseg(&["tokenize", "--model", model.to_str().unwrap(), "a cat", &long]);
    assert!(output.status.success());
    let stdout = String::from_utf8(output.stdout).unwrap();
    let ids: Vec<_> = stdout.lines().nth(1).unwrap().split(' ').collect();
    assert_eq!((ids.len(), ids[0], ids[75], ids[76]), (77, "49406", "2368", "49407"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("warning: prompt 2 of 2 is longer than 77 tokens and was cut"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

/// A folder with the published checkpoints' preprocessor alone.
fn published_preprocessor() -> Workspace {
    let workspace = Workspace::empty();
    let config = br#"{
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 2,
        "size": {"height": 352, "width": 352}
    }"#;
    workspace.write("model/preprocessor_config.json", config);
    workspace
}

#[test]
fn pixels_equal_transformers() {
    let workspace = published_preprocessor();
    let (model, out) = (workspace.argument("model"), workspace.argument("new/folder/pixels.safetensors"));
    let photo = fixture("photos/chelsea.png");
    assert_eq!(succeed(&["preprocess", "--model", &model, photo.to_str().unwrap(), "--out", &out]), "");

    let (shape, values) = tensor(out.as_ref(), "pixel_values");
    assert_eq!(shape, [1, 3, 352, 352]);
    let at = |channel: usize, row: usize, column: usize| values[(channel * 352 + row) * 352 + column];
    let found = [at(0, 0, 0), at(0, 351, 351), at(1, 100, 200), at(2, 176, 176), at(2, 351, 0)];
    let expected = [0.330_935_93, 0.656_306_2, -0.442_576_97, 0.321_917_27, -0.636_688_35];
    assert!(
        found.iter().zip(expected).all(|(found, expected): (_, f32)| (found - expected).abs() < 1e-6),
        "{found:?}"
    );
    let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
    assert!((sum - 4_301.619_203).abs() < 0.01, "{sum}");
    assert_eq!(workspace.files("new/folder"), ["pixels.safetensors"]);
}

#[cfg(unix)]
#[test]
fn files_have_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;

    let workspace = published_preprocessor();
    let (model, out) = (workspace.argument("model"), workspace.argument("pixels.safetensors"));
    succeed(&[
        "preprocess",
        "--model",
        &model,
        fixture("photos/chelsea.png").to_str().unwrap(),
        "--out",
        &out,
    ]);
    workspace.write("other", b"");
    let mode = |name: &str| fs::metadata(workspace.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("pixels.safetensors"), mode("other"));
}

/// The fixtures' coffee, 600 × 400, with an EXIF block that says it lies on its side.
pub fn sideways_coffee() -> Vec<u8> {
    let exif = [
        b"Exif\0\0MM\0\x2a\0\0\0\x08".as_slice(),
        b"\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0", // one entry: orientation, a short, 1 value, 6
    ]
    .concat();
    let jpeg = fs::read(fixture("photos/coffee.jpg")).unwrap();
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn grey_of_16_bits_is_cut_off_under_a_warning() {
    let workspace = published_preprocessor();
    let [model, out] = ["model", "out.safetensors"].map(|name| workspace.argument(name));
    let photo = fixture("processor/grey-16.png");
    let output = clipseg(&["preprocess", "--model", &model, photo.to_str().unwrap(), "--out", &out]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.starts_with("warning: "), "{stderr}");
    assert!(stderr.contains("grey-16.png") && stderr.contains("more than 8 bits"), "{stderr}");
}

#[test]
fn photos_are_turned_upright_unless_told_otherwise() {
    let workspace = Workspace::empty();
    workspace.write("model/preprocessor_config.json", br#"{"do_resize": false}"#);
    workspace.write("coffee.jpg", &sideways_coffee());
    let [model, photo, out] = ["model", "coffee.jpg", "out.safetensors"].map(|name| workspace.argument(name));
    let arguments = ["preprocess", "--model", &model, &photo, "--out", &out];
    succeed(&arguments);
    assert_eq!(tensor(out.as_ref(), "pixel_values").0, [1, 3, 600, 400]);
    succeed(&[arguments.as_slice(), &["--ignore-exif"]].concat());
    assert_eq!(tensor(out.as_ref(), "pixel_values").0, [1, 3, 400, 600]);
}
