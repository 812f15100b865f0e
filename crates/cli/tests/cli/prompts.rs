//! `segment` by words, by pictures, and by both mixed.

use std::fs;

use image::{GrayImage, Luma};
use serde_json::Value;

use crate::support::{Workspace, clipseg, fixture, refuse, succeed, tensor};

/// A workspace with a mask for the fixtures' cat: its face.
fn with_mask() -> Workspace {
    let workspace = Workspace::tiny();
    let mask = GrayImage::from_fn(451, 300, |x, y| {
        Luma([if (130..330).contains(&x) && (40..240).contains(&y) { 255 } else { 0 }])
    });
    mask.save(workspace.path("mask.png")).unwrap();
    mask.save(workspace.path("mask-2.png")).unwrap();
    GrayImage::new(451, 300).save(workspace.path("nothing.png")).unwrap();
    workspace
}

fn cat() -> String {
    fixture("photos/chelsea.png").to_str().unwrap().to_owned()
}

/// The logits of `clipseg segment` with these prompts, and what the report calls them.
fn logits(workspace: &Workspace, prompts: &[&str]) -> (Vec<Vec<f32>>, Vec<String>) {
    let [model, file] = ["model", "logits.safetensors"].map(|name| workspace.argument(name));
    let cat = cat();
    let arguments = [&["segment", "--model", &model, &cat, "--logits", &file, "--json"], prompts].concat();
    let report: Value = serde_json::from_str(&succeed(&arguments)).unwrap();
    let labels = report["prompts"].as_array().unwrap().iter();
    let labels = labels.map(|prompt| prompt["prompt"].as_str().unwrap().to_owned()).collect();
    let (shape, values) = tensor(file.as_ref(), "logits");
    fs::remove_file(file).unwrap();
    (values.chunks_exact(shape[1] * shape[2]).map(<[f32]>::to_vec).collect(), labels)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn pictures_are_prompts_beside_words() {
    let workspace = with_mask();
    let (mask, cat) = (workspace.argument("mask.png"), cat());
    let both = ["-p", "a cat", "--prompt-image", &cat, "--prompt-mask", &mask];
    let (together, labels) = logits(&workspace, &both);
    assert_eq!(labels, ["a cat", "[chelsea.png]"]);
    // Another number of prompts may be multiplied by another kernel, which sums in another order.
    let alone = [&both[..2], &both[2..]].map(|prompt| logits(&workspace, prompt).0.remove(0));
    for (alone, together) in alone.iter().zip(&together) {
        assert!(largest_difference(alone, together) < 1e-5);
    }

    // A whole picture, a picture prepared in another style, and the mean of two are other prompts.
    let whole = logits(&workspace, &both[2..4]).0;
    let style = logits(&workspace, &[&both[2..], &["--prompt-style", "blur"]].concat()).0;
    let [coffee, mask_2] =
        [fixture("photos/coffee.jpg").to_str().unwrap(), &workspace.argument("mask-2.png")]
            .map(str::to_owned);
    let (mean, labels) = logits(&workspace, &["--prompt-image", &cat, "--prompt-image", &coffee]);
    assert_eq!(labels, ["[chelsea.png and 1 more]"]);
    for other in [&whole, &style, &mean] {
        assert!(largest_difference(&other[0], &together[1]) > 1e-4);
    }
    // The mean of a picture with itself is that picture.
    let twice = [&both[2..], &["--prompt-image", &cat, "--prompt-mask", &mask_2]].concat();
    assert!(largest_difference(&logits(&workspace, &twice).0[0], &together[1]) < 1e-4);
}

#[test]
fn a_prompt_images_transparency_is_its_mask_on_request() {
    let workspace = with_mask();
    let photo = image::open(cat()).unwrap().into_rgb8();
    let mask = image::open(workspace.path("mask.png")).unwrap().into_luma8();
    let cut_out = image::RgbaImage::from_fn(451, 300, |x, y| {
        let [red, green, blue] = photo.get_pixel(x, y).0;
        image::Rgba([red, green, blue, mask.get_pixel(x, y)[0]])
    });
    cut_out.save(workspace.path("cut-out.png")).unwrap();
    let [cut_out, mask] = ["cut-out.png", "mask.png"].map(|name| workspace.argument(name));
    let with = |mask: &str| logits(&workspace, &["--prompt-image", &cut_out, "--prompt-mask", mask]).0;
    assert_eq!(with("alpha"), with(&mask));

    let [model, out] = ["model", "out"].map(|name| workspace.argument(name));
    let cat = cat();
    let base = ["segment", "--model", &model, &cat, "--out", &out, "--prompt-image"];
    refuse(&[&base[..], &[&cat, "--prompt-mask", "alpha"]].concat(), &["alpha", "no transparent part"]);
    let output = clipseg(&[&base[..], &[&cut_out]].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("--prompt-mask alpha"), "{stderr}");
}

#[test]
fn words_and_pictures_mix() {
    let workspace = with_mask();
    let (mask, cat) = (workspace.argument("mask.png"), cat());
    let picture = ["--prompt-image", &cat, "--prompt-mask", &mask];
    let words = ["-p", "a cat", "-p", "a road"];
    let mixed = |share: &str| logits(&workspace, &[&words[..], &picture, &["--mix", share]].concat());
    let (half, labels) = mixed("0.5");
    assert_eq!(labels, ["a cat", "a road"]);
    let (text, image) = (logits(&workspace, &words).0, logits(&workspace, &picture).0);
    assert!(largest_difference(&mixed("1").0[1], &text[1]) < 1e-4);
    assert!(largest_difference(&mixed("0").0[0], &image[0]) < 1e-4);
    assert!(largest_difference(&half[0], &text[0]) > 1e-4 && largest_difference(&half[0], &image[0]) > 1e-4);
}

#[test]
fn phrases_go_around_words() {
    let workspace = Workspace::tiny();
    let one = |arguments: &[&str]| logits(&workspace, arguments).0.swap_remove(0);
    let plain = one(&["-p", "a cat"]);
    assert_eq!(plain, one(&["-p", "cat", "--template", "a {}"]));
    assert_eq!(plain, one(&["-p", "a cat", "--template-set", "plain"]));
    let (other, labels) =
        logits(&workspace, &["-p", "cat", "--template", "a {}", "--template", "door to a {}"]);
    assert_eq!(labels, ["cat"]);
    assert!(largest_difference(&other[0], &plain) > 1e-4);
}

#[test]
fn wrong_prompts_are_named() {
    let workspace = with_mask();
    let [model, out, mask, nothing] =
        ["model", "out", "mask.png", "nothing.png"].map(|name| workspace.argument(name));
    let (cat, coffee) = (cat(), fixture("photos/coffee.jpg").to_str().unwrap().to_owned());
    let base = ["segment", "--model", &model, &cat, "--out", &out];
    let refuse = |more: &[&str], words: &[&str]| {
        refuse(&[&base, more].concat(), words);
        assert!(!workspace.path("out").exists());
    };
    refuse(&["--prompt-image", &coffee, "--prompt-mask", &mask], &["mask.png", "451 × 300", "600 × 400"]);
    refuse(&["--prompt-image", &cat, "--prompt-mask", &nothing], &["nothing.png", "marks nothing"]);
    refuse(
        &["--prompt-image", &cat, "--prompt-image", &cat, "--prompt-mask", &mask],
        &["--prompt-mask", "2 prompt images"],
    );
    refuse(&["--prompt-image", &mask.replace("mask", "gone")], &["gone.png"]);
    refuse(&["-p", "a cat", "--prompt-image", &cat, "--mix", "1.5"], &["--mix 1.5", "between 0 and 1"]);
    refuse(&["-p", " ", "--template", "a {}"], &["prompt", "empty"]);
}
