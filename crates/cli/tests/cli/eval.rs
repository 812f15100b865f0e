//! `clipseg eval`.

use std::fs;

use image::{GrayImage, Luma, RgbImage};
use serde_json::Value;

use crate::support::{Workspace, clipseg, fixture, refuse, succeed};

/// A tiny checkpoint, and a data folder with one photo of 60 × 40 pixels.
fn with_data(prompts: &str) -> Workspace {
    let workspace = Workspace::tiny();
    for folder in ["data", "data/images", "data/masks"] {
        fs::create_dir(workspace.path(folder)).unwrap();
    }
    let photo = RgbImage::from_fn(60, 40, |x, y| image::Rgb([(4 * x) as u8, (5 * y) as u8, (x * y) as u8]));
    photo.save(workspace.path("data/images/photo.png")).unwrap();
    let mask = GrayImage::from_fn(60, 40, |x, y| Luma([if x > 20 && y > 10 { 255 } else { 0 }]));
    mask.save(workspace.path("data/masks/mask.png")).unwrap();
    let ones = GrayImage::from_fn(60, 40, |x, _| Luma([u8::from(x > 20)]));
    ones.save(workspace.path("data/masks/ones.png")).unwrap();
    photo.save(workspace.path("data/masks/photo.png")).unwrap();
    GrayImage::new(40, 39).save(workspace.path("data/masks/small.png")).unwrap();
    workspace.write("data/prompts.jsonl", prompts.as_bytes());
    workspace
}

const GOOD: &str = r#"{"image": "photo.png", "text": "a cat", "mask": "mask.png"}"#;

#[test]
fn a_folder_is_scored() {
    let prompts = [
        GOOD,
        r#"{"image": "photo.png", "text": "a dot", "mask": null}"#,
        "",
        r#"{"image": "photo.png", "prompt_image": "photo.png", "prompt_mask": "mask.png", "mask": "mask.png", "group": "one shot"}"#,
    ];
    let workspace = with_data(&prompts.join("\n"));
    let [model, data, out] = ["model", "data", "out"].map(|name| workspace.argument(name));
    let json =
        succeed(&["eval", "--model", &model, "--data", &data, "--threshold", "0.3", "--out", &out, "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let groups = report["groups"].as_object().unwrap();
    assert_eq!(groups.keys().collect::<Vec<_>>(), ["one shot", "text", "text, absent"]);
    for group in ["one shot", "text"] {
        let chosen = &groups[group]["chosen"];
        assert_eq!(chosen["threshold"], 0.3);
        assert!((0.0..=1.0).contains(&chosen["foreground_iou"].as_f64().unwrap()));
        assert!(groups[group]["best"]["foreground_iou"].as_f64() >= chosen["foreground_iou"].as_f64());
    }
    assert_eq!(groups["text, absent"]["chosen"], Value::Null);
    let presence = &report["presence"];
    assert_eq!(presence["tuned_on"], data);
    assert_eq!((&presence["text"]["present"], &presence["text"]["absent"]), (&1.into(), &1.into()));
    assert!([0.0, 0.5, 1.0].contains(&presence["text"]["roc_auc"].as_f64().unwrap()));
    assert_eq!(presence["image"]["roc_auc"], Value::Null, "there is nothing that is absent");
    assert_eq!(workspace.files("out"), ["best.png", "scores.jsonl", "worst.png"]);
    let lines = fs::read_to_string(workspace.path("out/scores.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["foreground_iou"], groups["text"]["chosen"]["foreground_iou"]);
    assert_eq!((&lines[1]["present"], &lines[1]["foreground_iou"]), (&Value::Bool(false), &Value::Null));
}

#[test]
fn only_files_of_an_earlier_run_are_replaced() {
    let workspace = with_data(GOOD);
    let [model, data, out] = ["model", "data", "out"].map(|name| workspace.argument(name));
    // A data folder may be the output folder, and is whole afterwards.
    for out in [&out, &out, &data] {
        succeed(&["eval", "--model", &model, "--data", &data, "--out", out]);
    }
    assert_eq!(fs::read_to_string(workspace.path("data/prompts.jsonl")).unwrap(), GOOD);
    for (name, bytes) in [
        ("scores.jsonl", &br#"{"player": "one", "marked": 3}"#[..]),
        ("scores.jsonl", b""),
        ("best.png", &fs::read(workspace.path("data/images/photo.png")).unwrap()),
        ("worst.png", b"not even a picture"),
    ] {
        fs::create_dir_all(workspace.path("theirs")).unwrap();
        workspace.write(&format!("theirs/{name}"), bytes);
        let theirs = workspace.argument("theirs");
        let arguments = ["eval", "--model", &model, "--data", &data, "--out", &theirs];
        refuse(&arguments, &["--out", "theirs", name, "was not written by this command"]);
        assert_eq!(workspace.files("theirs"), [name]);
        assert_eq!(fs::read(workspace.path(&format!("theirs/{name}"))).unwrap(), bytes);
        fs::remove_dir_all(workspace.path("theirs")).unwrap();
    }
}

#[test]
fn generated_scenes_are_scored_with_thresholds_of_other_scenes() {
    let workspace = Workspace::tiny();
    let model = workspace.argument("model");
    // The tiny tokenizer lacks letters; it takes unknown ones for the end token.
    let text = succeed(&["eval", "--model", &model, "--data", "shapes:3:2", "--tune", "shapes:2:1"]);
    for word in
        ["shapes:3:2 on", "text, seen pairs", "image", "foreground IoU at", "binary IoU", "mean IoU", "AP"]
    {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

/// A threshold that nothing is known of stays as it was.
#[test]
fn scenes_without_pictures_tune_no_threshold_for_pictures() {
    let model = fixture("models/clipseg-shapes");
    let arguments = ["eval", "--model", model.to_str().unwrap(), "--data", "shapes:3:4", "--json"];
    // This one scene has no prompt that is a picture.
    let output = clipseg(&[&arguments[..], &["--tune", "shapes:7:1"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["thresholds"]["image"], 0.5);
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(
        warning.contains("--tune") && warning.contains("pictures; their threshold stays 0.50"),
        "{warning}"
    );
}

/// The trained model knows what is there; on so few scenes a little less well than its model card says.
#[test]
fn presence_separates_what_is_there_from_what_is_not() {
    let model = fixture("models/clipseg-shapes");
    let arguments =
        ["eval", "--model", model.to_str().unwrap(), "--data", "shapes:3:40", "--tune", "shapes:2:40"];
    let report: Value = serde_json::from_str(&succeed(&[&arguments[..], &["--json"]].concat())).unwrap();
    for (kind, area, accuracy) in [("text", 0.96, 0.85), ("image", 0.9, 0.8)] {
        let separation = &report["presence"][kind];
        let number = |name: &str| separation[name].as_f64().unwrap();
        assert!(number("present") > number("absent") && number("absent") > 3.0, "{separation}");
        assert!(number("roc_auc") > area && number("balanced_accuracy") > accuracy, "{kind}: {separation}");
    }
    assert_eq!(report["presence"]["tuned_on"], "shapes:2:40");
}

#[test]
fn what_is_wrong_with_a_folder_is_said_by_file_and_line() {
    for (line, words) in [
        (r#"{"image": "photo.png", "text": "a cat", "mask": "gone.png"}"#, ["cannot read", "gone.png"]),
        (r#"{"image": "gone.png", "text": "a cat", "mask": "mask.png"}"#, ["cannot read", "gone.png"]),
        (r#"{"image": "photo.png", "text": "a cat", "mask": "small.png"}"#, ["small.png", "40 × 39"]),
        (r#"{"image": "photo.png", "mask": "mask.png"}"#, ["either \"text\"", "prompt_image"]),
        (r#"{"image": "photo.png", "text": "a cat", "mask": "mask.png""#, ["is not a prompt", "EOF"]),
        (r#"{"image": "photo.png", "text": "a cat", "masc": "mask.png"}"#, ["is not a prompt", "masc"]),
        (r#"{"image": "photo.png", "text": "a dog"}"#, ["is not a prompt", "missing field `mask`"]),
        (r#"{"image": "photo.png", "text": " ", "mask": null}"#, ["prompt", "is empty"]),
        (
            r#"{"image": "photo.png", "text": "a dog", "mask": "ones.png"}"#,
            ["ones.png", "largest value is 1"],
        ),
        (r#"{"image": "photo.png", "text": "a dog", "mask": "photo.png"}"#, ["photo.png", "is coloured"]),
    ] {
        let workspace = with_data(&format!("{GOOD}\n{line}\n"));
        let [model, data, out] = ["model", "data", "out"].map(|name| workspace.argument(name));
        let words = [&words[..], &["prompts.jsonl, line 2"]].concat();
        refuse(&["eval", "--model", &model, "--data", &data, "--out", &out], &words);
        assert!(!workspace.path("out").exists());
    }
    let workspace = with_data("\n");
    let [model, data] = ["model", "data"].map(|name| workspace.argument(name));
    refuse(&["eval", "--model", &model, "--data", &data], &["prompts.jsonl", "no prompts"]);
    refuse(&["eval", "--model", &model, "--data", &model], &["prompts.jsonl", "images/, masks/"]);
}

#[test]
fn a_photo_that_the_model_cannot_take_is_named_with_its_line() {
    let workspace =
        with_data(&format!("{GOOD}\n{}", r#"{"image": "tiny.png", "text": "a cat", "mask": null}"#));
    RgbImage::new(3, 2).save(workspace.path("data/images/tiny.png")).unwrap();
    workspace.write("model/preprocessor_config.json", br#"{"do_resize": false}"#);
    let [model, data] = ["model", "data"].map(|name| workspace.argument(name));
    let words = ["prompts.jsonl, line 2", "tiny.png", "less than one patch"];
    refuse(&["eval", "--model", &model, "--data", &data, "--threshold", "0.5"], &words);
}

#[test]
fn a_threshold_is_a_whole_number_of_hundredths() {
    let workspace = with_data(GOOD);
    let [model, data] = ["model", "data"].map(|name| workspace.argument(name));
    for threshold in ["0.004", "1e-320", "0.505", "-0.01", "1.01", "NaN", "inf"] {
        let arguments = ["eval", "--model", &model, "--data", &data, "--threshold", threshold];
        refuse(&arguments, &["--threshold", "hundredths"]);
    }
    for threshold in ["0", "0.07", "0.57", "1"] {
        let json = succeed(&["eval", "--model", &model, "--data", &data, "--threshold", threshold, "--json"]);
        let report: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(report["thresholds"]["text"], threshold.parse::<f64>().unwrap());
    }
}

/// Before anything is scored that would be lost.
#[test]
fn a_mask_that_cannot_be_used_is_refused_first() {
    let coloured = r#"{"image": "photo.png", "text": "a cat", "mask": "coloured.png"}"#;
    let workspace = with_data(&format!("{GOOD}\n{coloured}\n"));
    RgbImage::from_pixel(60, 40, image::Rgb([0, 128, 0]))
        .save(workspace.path("data/masks/coloured.png"))
        .unwrap();
    let [model, data] = ["model", "data"].map(|name| workspace.argument(name));
    let words = ["error: --data: ", "prompts.jsonl, line 2: ", "coloured.png: is coloured"];
    refuse(&["eval", "--model", &model, "--data", &data], &words);
}

/// What segment reads is scored too: every kind of TIFF, masks that are turned as their photo is, and files
/// of editors that begin with a byte-order mark.
#[test]
fn photos_and_masks_are_read_as_by_segment() {
    let prompts = [
        "\u{feff}",
        r#"{"image": "fax.tif", "text": "a cat", "mask": "fax.tif"}"#,
        "\r\n",
        r#"{"image": "turned.png", "text": "a cat", "mask": "turned.png"}"#,
    ];
    let workspace = with_data(&prompts.concat());
    for folder in ["images", "masks"] {
        let to = |name: &str| workspace.path(&format!("data/{folder}/{name}"));
        fs::copy(fixture("processor/kinds/fax-4.tif"), to("fax.tif")).unwrap();
    }
    // A quarter turn, by the cameras' tag.
    let turned = |pixels: &image::DynamicImage, folder: &str| {
        use image::ImageEncoder;
        use image::codecs::png::PngEncoder;
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        let (width, height) = (pixels.width(), pixels.height());
        encoder.write_image(pixels.as_bytes(), width, height, pixels.color().into()).unwrap();
        workspace.write(&format!("data/{folder}/turned.png"), &bytes);
    };
    turned(&RgbImage::new(8, 4).into(), "images");
    turned(&GrayImage::from_fn(8, 4, |x, _| Luma([if x < 4 { 255 } else { 0 }])).into(), "masks");
    let [model, data, out] = ["model", "data", "out"].map(|name| workspace.argument(name));
    succeed(&["eval", "--model", &model, "--data", &data, "--threshold", "0", "--out", &out]);
    let lines = fs::read_to_string(workspace.path("out/scores.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["image"], &lines[0]["present"]), (&"fax.tif".into(), &true.into()));
    assert_eq!((&lines[1]["image"], &lines[1]["foreground_iou"]), (&"turned.png".into(), &0.5.into()));
}

#[test]
fn a_prompt_that_is_cut_is_named_once_with_its_line() {
    let long = "a cat ".repeat(200);
    let line = format!(r#"{{"image": "photo.png", "text": "{long}", "mask": null}}"#);
    let workspace = with_data(&format!("{GOOD}\n{line}\n{line}\n"));
    let [model, data] = ["model", "data"].map(|name| workspace.argument(name));
    let output = clipseg(&["eval", "--model", &model, "--data", &data]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.starts_with("warning: ") && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.contains("prompts.jsonl, line 2") && stderr.contains("was cut"), "{stderr}");
}

#[test]
fn words_and_pictures_of_one_group_have_thresholds_of_their_own_in_any_order() {
    let rows = [
        r#"{"image": "photo.png", "text": "a cat", "mask": "mask.png", "group": "all", "class": "cat"}"#,
        r#"{"image": "photo.png", "prompt_image": "photo.png", "prompt_mask": "mask.png", "mask": "mask.png", "group": "all", "class": "cat"}"#,
    ];
    let chosen = |rows: [&str; 2]| {
        let workspace = with_data(&rows.join("\n"));
        let [model, data] = ["model", "data"].map(|name| workspace.argument(name));
        let json = succeed(&["eval", "--model", &model, "--data", &data, "--tune", &data, "--json"]);
        let report: Value = serde_json::from_str(&json).unwrap();
        let (thresholds, group) = (report["thresholds"].clone(), report["groups"]["all"].clone());
        (thresholds, group["chosen"].clone(), group["falsely_marked"].clone())
    };
    let (thresholds, scores, falsely_marked) = chosen(rows);
    assert_ne!(thresholds["text"], thresholds["image"], "the test needs two thresholds");
    assert_eq!(scores["threshold"], Value::Null);
    assert_eq!(chosen([rows[1], rows[0]]), (thresholds, scores, falsely_marked));
}
