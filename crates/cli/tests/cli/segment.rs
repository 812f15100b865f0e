//! `segment`, end to end on a tiny checkpoint.

use std::fs;

use serde_json::Value;

use crate::support::{Workspace, clipseg, fixture, refuse, succeed, tensor};

fn with<'a>(arguments: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

#[test]
fn pictures_logits_and_report_agree() {
    let workspace = Workspace::tiny();
    let (arguments, logits) = (workspace.segment(), workspace.argument("logits.safetensors"));
    let more = ["-p", "A cat!", "-p", "beet root", "--threshold", "0.4", "--logits", &logits, "--json"];
    let report: Value = serde_json::from_str(&succeed(&with(&arguments, &more))).unwrap();
    let names = ["chelsea-a-cat", "chelsea-a-cat-2", "chelsea-beet-root"];
    let mut expected: Vec<_> = names
        .iter()
        .flat_map(|name| ["mask", "overlay", "probability"].map(|kind| format!("{name}-{kind}.png")))
        .collect();
    expected.sort();
    assert_eq!(workspace.files("out"), expected);

    let (shape, values) = tensor(logits.as_ref(), "logits");
    assert_eq!(shape, [3, 48, 48]);
    assert!(values.iter().all(|value| value.is_finite()));
    assert_ne!(values[..48 * 48], values[2 * 48 * 48..], "prompts make no difference");

    assert_eq!((&report["width"], &report["height"]), (&451.into(), &300.into()));
    let photo = image::open(fixture("photos/chelsea.png")).unwrap().into_rgb8();
    for (prompt, name) in report["prompts"].as_array().unwrap().iter().zip(names) {
        let open = |kind: &str| {
            let path = workspace.path("out").join(format!("{name}-{kind}.png"));
            assert_eq!(prompt["files"][kind], path.to_str().unwrap());
            image::open(path).unwrap()
        };
        let (probability, mask) = (open("probability"), open("mask"));
        assert_eq!((probability.color(), mask.color()), (image::ColorType::L8, image::ColorType::L8));
        let (probability, mask, overlay) =
            (probability.into_luma8(), mask.into_luma8(), open("overlay").into_rgb8());
        let mut inside = 0;
        for (x, y, pixel) in mask.enumerate_pixels() {
            assert!([0, 255].contains(&pixel[0]));
            let grey = probability.get_pixel(x, y)[0];
            assert!(if pixel[0] == 255 { grey >= 102 } else { grey <= 102 }, "grey {grey} at {x}, {y}");
            assert_eq!(
                pixel[0] == 0,
                overlay.get_pixel(x, y) == photo.get_pixel(x, y),
                "overlay at {x}, {y}"
            );
            inside += u32::from(pixel[0] == 255);
        }
        let area = 100.0 * f64::from(inside) / (451.0 * 300.0);
        assert!((prompt["area_percent"].as_f64().unwrap() - area).abs() < 1e-9);
        let peak = prompt["peak_probability"].as_f64().unwrap();
        let brightest = probability.pixels().map(|pixel| pixel[0]).max().unwrap();
        assert!((peak * 255.0 - f64::from(brightest)).abs() <= 0.5 + 1e-4, "{peak} {brightest}");
    }
}

#[test]
fn the_table_names_prompts_and_files() {
    let workspace = Workspace::tiny();
    let text = succeed(&with(&workspace.segment(), &["-p", "a\n toad"]));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["prompt", "presence", "peak", "probability", "area"]
    );
    assert!(lines[1].starts_with("a cat ") && lines[2].starts_with("a toad "), "{text}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("wrote ")).count(), 6, "{text}");
}

#[test]
fn logits_alone_need_no_folder() {
    let workspace = Workspace::tiny();
    let (model, logits) = (workspace.argument("model"), workspace.argument("logits.safetensors"));
    let photo = fixture("photos/coffee.jpg");
    succeed(&["segment", "--model", &model, photo.to_str().unwrap(), "-p", "a cat", "--logits", &logits]);
    assert_eq!(tensor(logits.as_ref(), "logits").0, [1, 48, 48]);
    assert_eq!(workspace.files(""), ["logits.safetensors", "model"]);
}

#[test]
fn windows_and_edges_make_finer_masks_of_the_same_size() {
    let workspace = Workspace::tiny();
    let logits = workspace.argument("logits.safetensors");
    // 451 × 300 pixels: at scale 2 the shorter side is 96 long, and windows of 48 overlap by at least 12.
    let more = ["--scales", "1,2", "--refine", "--logits", &logits, "--json"];
    let report: Value = serde_json::from_str(&succeed(&with(&workspace.segment(), &more))).unwrap();
    assert_eq!(report["windows"], 1 + 4 * 3);
    assert_eq!(tensor(logits.as_ref(), "logits").0, [1, 96, 144]);
    let size = |kind: &str| {
        let path = report["prompts"][0]["files"][kind].as_str().unwrap();
        image::image_dimensions(path).unwrap()
    };
    assert_eq!((size("mask"), size("probability")), ((451, 300), (451, 300)));
    let plain: Value = serde_json::from_str(&succeed(&with(&workspace.segment(), &["--json"]))).unwrap();
    assert_eq!(plain["windows"], 1);
}

/// At 352 pixels three scales of so wide a photo make a map whose moments exceed what adapters bind in one
/// piece.
#[test]
fn a_wide_photo_is_refined_at_all_scales() {
    let workspace = Workspace::tiny();
    workspace.write("model/preprocessor_config.json", br#"{"size": {"height": 352, "width": 352}}"#);
    let photo = image::open(fixture("photos/coffee.jpg")).unwrap();
    let photo = photo.resize_exact(2400, 1000, image::imageops::FilterType::Nearest);
    photo.save(workspace.path("wide.png")).unwrap();
    let arguments = workspace.masks(&["wide.png"], "out");
    succeed(&with(&arguments, &["--scales", "1,2,3", "--refine"]));
    let mask = image::image_dimensions(workspace.path("out/wide-a-cat-mask.png")).unwrap();
    assert_eq!(mask, (2400, 1000));
}

#[test]
fn a_prompt_beyond_the_models_positions_is_cut_with_a_warning() {
    let workspace = Workspace::tiny();
    let output = clipseg(&with(&workspace.segment(), &["-p", &"cat ".repeat(30), "--json"]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.starts_with("warning: prompt 2 of 2 is longer than 20 tokens and was cut"), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cut: Vec<_> = report["prompts"].as_array().unwrap().iter().map(|prompt| &prompt["cut"]).collect();
    assert_eq!(cut, [&Value::Bool(false), &Value::Bool(true)]);
}

#[test]
fn an_adapter_is_chosen_by_number_or_name() {
    let devices: Value = serde_json::from_str(&succeed(&["devices", "--json"])).unwrap();
    let (name, description) =
        (devices[0]["name"].as_str().unwrap(), devices[0]["description"].as_str().unwrap());
    let workspace = Workspace::tiny();
    for adapter in ["0", &name.to_uppercase()] {
        let report = succeed(&with(&workspace.segment(), &["--adapter", adapter, "--json"]));
        assert_eq!(serde_json::from_str::<Value>(&report).unwrap()["adapter"], description);
    }
    let report = succeed(&with(&workspace.segment(), &["--adapter", "cpu", "--json"]));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["adapter"].as_str().unwrap().starts_with("processor ("), "{report}");
}

#[test]
fn inputs_are_not_overwritten() {
    let workspace = Workspace::tiny();
    fs::copy(fixture("photos/chelsea.png"), workspace.path("photo.png")).unwrap();
    let before = fs::read(workspace.path("photo.png")).unwrap();
    // Whatever lies in the model's folder is its own: shards have any name.
    workspace.write("model/shard-1.safetensors", b"weights");
    let [model, photo, prompt] = ["model", "photo.png", "prompt.png"].map(|name| workspace.argument(name));
    fs::copy(fixture("photos/chelsea.png"), &prompt).unwrap();
    let of_model =
        ["model/model.safetensors", "model/shard-1.safetensors", "model/config.json", "model/vocab.json"];
    for target in of_model.into_iter().chain(["photo.png"]).map(|name| workspace.argument(name)) {
        let segment = ["segment", "--model", &model, &photo, "-p", "a cat", "--logits", &target];
        refuse(&segment, &["--logits", &target, "would overwrite"]);
        let preprocess = ["preprocess", "--model", &model, &photo, "--out", &target];
        refuse(&preprocess, &["--out", &target, "would overwrite"]);
    }
    for target in of_model.into_iter().chain(["prompt.png"]).map(|name| workspace.argument(name)) {
        let encode = ["encode-prompts", "--model", &model, "--prompt-image", &prompt, "--out", &target];
        refuse(&encode, &["--out", &target, "would overwrite"]);
    }
    assert_eq!(fs::read(workspace.path("photo.png")).unwrap(), before);
}
