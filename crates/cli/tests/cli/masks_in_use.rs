//! What people do with masks, on the small trained model: prompts are combined, edges moved, and presence is
//! scored.

use std::fs;
use std::path::Path;

use clipseg::masks::{Connectivity, Mask};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Workspace, clipseg, fixture, refuse, reports, succeed};

const SIDE: usize = 256;
const PIXELS: usize = SIDE * SIDE;

/// Segments the first of the fixtures' scenes, and gives the report's prompts and the folder of the files.
fn segment(more: &[&str]) -> (Vec<Value>, TempDir) {
    let out = tempfile::tempdir().unwrap();
    let [model, scene] = ["models/clipseg-shapes", "shapes/scene-1.png"].map(fixture);
    let start = ["segment", "--model", model.to_str().unwrap(), scene.to_str().unwrap(), "--json"];
    let arguments = [&start[..], &["--out", out.path().to_str().unwrap()], more].concat();
    let [report] = reports(&succeed(&arguments)).try_into().unwrap();
    (report["prompts"].as_array().unwrap().clone(), out)
}

fn npy(folder: &TempDir, name: &str) -> Vec<f32> {
    let bytes = fs::read(folder.path().join(format!("scene-1-{name}-probability.npy"))).unwrap();
    let (values, _) = bytes[128..].as_chunks::<4>();
    values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn grey(folder: &TempDir, name: &str) -> Vec<u8> {
    image::open(folder.path().join(format!("scene-1-{name}-mask.png"))).unwrap().into_luma8().into_raw()
}

fn mask(folder: &TempDir, name: &str) -> Mask {
    Mask::new(SIDE, SIDE, grey(folder, name).iter().map(|&value| value >= 128).collect()).unwrap()
}

/// The model's answers differ in their last bits with the number of prompts that are decoded together.
fn assert_near(one: &[f32], other: impl Iterator<Item = f32>) {
    for (place, (one, other)) in one.iter().zip(other).enumerate() {
        assert!((one - other).abs() < 1e-4, "{one} {other} at {place}");
    }
}

#[test]
fn what_is_not_meant_is_subtracted() {
    let save = ["--save", "npy,mask"];
    let (_, all) =
        segment(&[&["-p", "a circle", "-p", "a triangle", "-p", "something striped"], &save[..]].concat());
    let [circle, triangle, striped] =
        ["a-circle", "a-triangle", "something-striped"].map(|name| npy(&all, name));
    let negative = ["-p", "something striped", "--negative", "a triangle", "--negative", "a circle"];
    for (weight, more) in
        [(1.0, &[][..]), (0.25, &["--negative-weight", "0.25"]), (0.0, &["--negative-weight", "0"])]
    {
        let (prompts, out) = segment(&[&negative[..], &save, more].concat());
        assert_eq!(prompts.len(), 1, "negative prompts have no results");
        let others = circle.iter().zip(&triangle).map(|(circle, triangle)| circle.max(*triangle));
        let expected = striped.iter().zip(others).map(|(p, other)| (p - weight * other).clamp(0.0, 1.0));
        assert_near(&npy(&out, "something-striped"), expected);
    }
    let (prompts, out) = segment(&[&negative[..], &save].concat());
    let left = mask(&out, "something-striped");
    assert!(left.area() > 1000 && left.area() + 1000 < mask(&all, "something-striped").area());
    assert_eq!(prompts[0]["area"], left.area());
    // Presence is judged by the probabilities that are left after the subtraction.
    let (prompts, _) = segment(&["-p", "a circle", "--negative", "a circle"]);
    assert!(prompts[0]["presence"].as_f64().unwrap() < 0.01 && prompts[0]["area"] == 0, "{prompts:?}");
}

#[test]
fn logits_are_of_what_is_meant() {
    let workspace = Workspace::tiny();
    let file = workspace.argument("logits.safetensors");
    let mut arguments = workspace.segment();
    arguments.extend(["--negative", "a dot", "--logits", &file].map(str::to_owned));
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(crate::support::tensor(file.as_ref(), "logits").0, [1, 48, 48]);
}

#[test]
fn prompts_make_one_result() {
    let two = ["-p", "something striped", "-p", "a triangle", "--save", "npy"];
    let (_, apart) = segment(&two);
    let [striped, triangle] = ["something-striped", "a-triangle"].map(|name| npy(&apart, name));
    let pairs = || striped.iter().copied().zip(triangle.iter().copied());
    let (any, out) = segment(&[&two[..], &["--combine", "any"]].concat());
    assert_eq!(any[0]["prompt"], "something striped or a triangle");
    assert_eq!(any[0]["of"], serde_json::json!(["something striped", "a triangle"]));
    assert_near(&npy(&out, "something-striped-or-a-triangle"), pairs().map(|(one, other)| one.max(other)));
    let (all, out) = segment(&[&two[..], &["--combine", "all"]].concat());
    assert_eq!((all.len(), &all[0]["prompt"]), (1, &"something striped and a triangle".into()));
    assert_near(&npy(&out, "something-striped-and-a-triangle"), pairs().map(|(one, other)| one.min(other)));
}

#[test]
fn prompts_of_one_class_make_one_result() {
    let given = ["-p", "a circle=round", "-p", "a square", "-p", "a ring = round", "-p", "round"];
    let (prompts, out) = segment(&[&given[..], &["--save", "npy,labels"]].concat());
    let names: Vec<_> = prompts.iter().map(|prompt| prompt["prompt"].as_str().unwrap()).collect();
    assert_eq!(names, ["round", "a square"]);
    assert_eq!(prompts[0]["of"], serde_json::json!(["a circle", "a ring", "round"]));
    assert_eq!(prompts[1].get("of"), None);
    let (_, apart) = segment(&["-p", "a circle", "-p", "a ring", "-p", "round", "--save", "npy"]);
    let [circle, ring, round] = ["a-circle", "a-ring", "round"].map(|name| npy(&apart, name));
    let largest =
        circle.iter().zip(&ring).zip(&round).map(|((one, other), third)| one.max(*other).max(*third));
    assert_near(&npy(&out, "round"), largest);
    let legend: Value =
        serde_json::from_slice(&fs::read(out.path().join("scene-1-labels.json")).unwrap()).unwrap();
    assert_eq!(
        (&legend["labels"][1]["prompt"], &legend["labels"][2]["prompt"]),
        (&"round".into(), &"a square".into())
    );
}

#[test]
fn edges_move_and_fade_by_true_distances() {
    let given = ["-p", "a circle", "--save", "mask,regions"];
    let (_, plain) = segment(&given);
    let circle = mask(&plain, "a-circle");
    let shaped = |more: &[&str]| segment(&[&given[..], more].concat());
    let (prompts, out) = shaped(&["--grow", "4.5"]);
    assert_eq!(mask(&out, "a-circle"), circle.grown(4.5).unwrap());
    assert_eq!(prompts[0]["area"], circle.grown(4.5).unwrap().area());
    let regions = fs::read(out.path().join("scene-1-a-circle-regions.json")).unwrap();
    let regions: Value = serde_json::from_slice(&regions).unwrap();
    assert_eq!((&regions["grow"], &regions["invert"]), (&4.5.into(), &false.into()));
    let (_, out) = shaped(&["--shrink", "3"]);
    assert_eq!(mask(&out, "a-circle"), circle.shrunk(3.0).unwrap());
    let (prompts, out) = shaped(&["--invert"]);
    assert_eq!(mask(&out, "a-circle"), circle.inverted());
    assert_eq!(prompts[0]["area"], PIXELS - circle.area());
    assert!(prompts[0]["presence"].as_f64().unwrap() > 0.99, "probabilities stay as they are");
    let (prompts, out) = shaped(&["--invert", "--min-area", "50", "--grow", "2", "--feather", "6"]);
    let hard = circle.inverted().without_small(50, Connectivity::Eight).grown(2.0).unwrap();
    let soft: Vec<u8> =
        hard.feathered(6.0).unwrap().iter().map(|value| (value * 255.0).round() as u8).collect();
    assert_eq!(grey(&out, "a-circle"), soft);
    assert_eq!(prompts[0]["area"], hard.area());
}

#[test]
fn what_is_absent_can_be_left_out() {
    let given = ["-p", "a circle", "-p", "a crescent", "--save", "mask", "--threshold", "0"];
    let areas = |more: &[&str]| -> Vec<usize> {
        let (prompts, _) = segment(&[&given[..], more].concat());
        let presence: Vec<_> = prompts.iter().map(|prompt| prompt["presence"].as_f64().unwrap()).collect();
        assert!(presence[0] > 0.99 && presence[1] < 0.01, "{presence:?}");
        prompts.iter().map(|prompt| prompt["area"].as_u64().unwrap() as usize).collect()
    };
    assert_eq!(areas(&[]), [PIXELS, PIXELS]);
    assert_eq!(areas(&["--min-presence", "0.5"]), [PIXELS, 0]);
    assert_eq!(areas(&["--min-presence", "0.5", "--invert"]), [0, PIXELS]);
}

#[test]
fn what_contradicts_itself_is_refused_by_flag() {
    let workspace = Workspace::tiny();
    for (more, words) in [
        (
            &["--negative", "a dot", "--negative-weight", "NaN"][..],
            &["--negative-weight NaN", "0 and 1000"][..],
        ),
        (&["--negative", "a dot", "--negative-weight", "-1"], &["--negative-weight -1"]),
        (&["--negative", "a dot", "--negative-weight", "1e30"], &["--negative-weight 1"]),
        (&["--negative", " "], &["--negative", "prompt 1 of 1 is empty"]),
        (&["--grow", "-2"], &["--grow -2", "between 0 and 100000"]),
        (&["--grow", "inf"], &["--grow inf"]),
        (&["--shrink", "NaN"], &["--shrink NaN"]),
        (&["--feather", "1e9"], &["--feather 1000000000"]),
        (&["--feather", "3", "--save", "npy"], &["--feather", "add --save mask"]),
        (&["--min-presence", "2"], &["--min-presence 2", "between 0 and 1"]),
        (&["--min-presence", "NaN"], &["--min-presence NaN"]),
        (&["--combine", "any"], &["--combine", "one prompt", "-p"]),
        (&["--combine", "any", "-p", "a dot", "--save", "labels"], &["--combine", "--save labels"]),
        (&["--combine", "all", "-p", "a dot=dots"], &["--combine", "class"]),
        (&["--invert", "--save", "labels"], &["--invert", "--save labels"]),
        (&["-p", "=dots"], &["-p \"=dots\"", "tabby=cat"]),
        (&["-p", "a dot="], &["-p \"a dot=\""]),
        (&["--smooth", "0.5"], &["--smooth", "one photo"]),
        (&["--smooth", "1"], &["--smooth 1", "below 1"]),
        (&["--smooth", "-0.5"], &["--smooth -0.5"]),
        (&["--smooth", "NaN"], &["--smooth NaN"]),
    ] {
        workspace.refuse_segment(more, words);
    }
    let arguments = workspace.segment();
    let conflicts = |more: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let output = clipseg(&arguments);
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(conflicts(&["--grow", "1", "--shrink", "1"]).contains("cannot be used with"));
    assert!(conflicts(&["--negative-weight", "1"]).contains("--negative"));
    assert!(conflicts(&["--conditions", "file"]).contains("--conditions"));
    let model = workspace.argument("model");
    refuse(
        &["segment", "--model", &model, "gone.png", "--conditions", "gone", "--out", "x"],
        &["--conditions", "gone"],
    );
    assert!(!Path::new("x").exists());
}
