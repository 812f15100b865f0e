//! What `segment --save` writes, for other programs to read.

use std::fs;
use std::path::Path;

use clipseg::masks::{Connectivity, Mask, RunLengths};
use serde_json::Value;

use crate::support::{Workspace, succeed};

/// The fixtures' cat.
const WIDTH: usize = 451;
const HEIGHT: usize = 300;
const PIXELS: usize = WIDTH * HEIGHT;
const NAMES: [&str; 2] = ["chelsea-a-cat", "chelsea-beet-root"];

/// Segments by two prompts with `more` arguments, and gives the report.
fn segment(workspace: &Workspace, more: &[&str]) -> Value {
    let arguments = workspace.segment();
    let start = arguments.iter().map(String::as_str);
    let arguments: Vec<_> = start.chain(["-p", "beet root", "--json"]).chain(more.iter().copied()).collect();
    serde_json::from_str(&succeed(&arguments)).unwrap()
}

fn json(workspace: &Workspace, name: &str) -> Value {
    serde_json::from_slice(&fs::read(workspace.path("out").join(name)).unwrap()).unwrap()
}

fn mask(workspace: &Workspace, name: &str) -> Mask {
    let picture = image::open(workspace.path("out").join(format!("{name}-mask.png"))).unwrap().into_luma8();
    assert_eq!(picture.dimensions(), (WIDTH as u32, HEIGHT as u32));
    Mask::new(WIDTH, HEIGHT, picture.into_raw().iter().map(|&value| value == 255).collect()).unwrap()
}

/// The numbers of an NPY file of 128 bytes and f32 of the photo's size.
fn npy(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let (header, data) = bytes.split_at(128);
    assert!(header.starts_with(
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (300, 451), }"
    ));
    let (values, rest) = data.as_chunks::<4>();
    assert_eq!((values.len(), rest.len()), (PIXELS, 0));
    values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|value| value.as_i64().unwrap()).collect()
}

/// Twice the area within a polygon, below zero where it runs the other way.
fn doubled_area(polygon: &Value) -> i64 {
    let numbers = numbers(polygon);
    let (points, _) = numbers.as_chunks::<2>();
    let next = points.iter().cycle().skip(1);
    points.iter().zip(next).map(|([x0, y0], [x1, y1])| x0 * y1 - x1 * y0).sum()
}

/// A threshold between the probabilities of both prompts, so that each has a mask with an edge; the same for
/// all tests.
const THRESHOLD: &str = "0.5";

#[test]
fn probabilities_come_in_three_kinds() {
    let workspace = Workspace::tiny();
    let report = segment(&workspace, &["--save", "probability,probability16,npy"]);
    assert_eq!(workspace.files("out").len(), 6);
    for (name, prompt) in NAMES.iter().zip(report["prompts"].as_array().unwrap()) {
        let path = |kind: &str| Path::new(prompt["files"][kind].as_str().unwrap()).to_owned();
        assert_eq!(path("npy"), workspace.path("out").join(format!("{name}-probability.npy")));
        let exact = npy(&path("npy"));
        let deep = image::open(path("probability16")).unwrap();
        assert_eq!(deep.color(), image::ColorType::L16);
        let (deep, grey) = (deep.into_luma16(), image::open(path("probability")).unwrap().into_luma8());
        for ((exact, deep), grey) in exact.iter().zip(deep.as_raw()).zip(grey.as_raw()) {
            assert_eq!(*deep, (exact * 65535.0).round() as u16);
            assert_eq!(*grey, (exact * 255.0).round() as u8);
        }
        let peak = exact.iter().copied().fold(0.0, f32::max);
        assert_eq!(prompt["peak_probability"].as_f64().unwrap() as f32, peak);
    }
}

#[test]
fn regions_describe_the_mask() {
    let workspace = Workspace::tiny();
    let report = segment(&workspace, &["--save", "mask,regions", "--threshold", THRESHOLD]);
    for ((name, text), prompt) in
        NAMES.iter().zip(["a cat", "beet root"]).zip(report["prompts"].as_array().unwrap())
    {
        let (mask, regions) = (mask(&workspace, name), json(&workspace, &format!("{name}-regions.json")));
        assert!(mask.area() > 0 && mask.area() < PIXELS, "the threshold makes a trivial mask of {name}");
        assert_eq!((&regions["prompt"], &regions["threshold"]), (&text.into(), &0.5.into()));
        assert_eq!((&regions["width"], &regions["height"]), (&WIDTH.into(), &HEIGHT.into()));
        let rle = &regions["rle"];
        assert_eq!(numbers(&rle["size"]), [HEIGHT as i64, WIDTH as i64]);
        let lengths = RunLengths::from_compressed(WIDTH, HEIGHT, rle["counts"].as_str().unwrap()).unwrap();
        assert_eq!(lengths.to_mask(), mask);
        for report in [&regions, prompt] {
            assert_eq!(report["area"], mask.area());
            let expected = mask.bounding_box().unwrap().to_array();
            assert_eq!(numbers(&report["bbox"]), expected.map(i64::from));
        }
        let components = mask.components(Connectivity::Eight);
        let found = regions["components"].as_array().unwrap();
        assert_eq!(found.len(), components.list().len());
        for (found, component) in found.iter().zip(components.list()) {
            assert_eq!(found["area"], component.area);
            assert_eq!(numbers(&found["bbox"]), component.bounding_box.to_array().map(i64::from));
            let holes: i64 = found["holes"].as_array().unwrap().iter().map(doubled_area).sum();
            assert_eq!(doubled_area(&found["polygon"]) + holes, 2 * component.area as i64);
        }
    }
}

#[test]
fn simplified_polygons_have_fewer_corners() {
    let workspace = Workspace::tiny();
    let corners = || {
        let regions = json(&workspace, "chelsea-a-cat-regions.json");
        let components = regions["components"].as_array().unwrap().clone();
        components.iter().map(|found| numbers(&found["polygon"]).len() / 2).sum::<usize>()
    };
    segment(&workspace, &["--save", "regions"]);
    let exact = corners();
    segment(&workspace, &["--save", "regions", "--simplify", "1.5"]);
    assert!(corners() < exact / 2, "{} {exact}", corners());
}

#[test]
fn small_parts_leave_the_masks_alone() {
    let (whole, parts) = (Workspace::tiny(), Workspace::tiny());
    let kinds = "probability,mask,overlay,regions,labels";
    segment(&whole, &["--save", kinds]);
    let before = mask(&whole, NAMES[0]);
    let areas: Vec<_> =
        before.components(Connectivity::Eight).list().iter().map(|component| component.area).collect();
    let largest = areas.iter().copied().max().unwrap();
    let report = segment(&parts, &["--save", kinds, "--min-area", &largest.to_string()]);

    let after = mask(&parts, NAMES[0]);
    assert_eq!(after, before.without_small(largest, Connectivity::Eight));
    let count = areas.iter().filter(|&&area| area == largest).count();
    assert!(count < areas.len(), "nothing is small in {areas:?}");
    let regions = json(&parts, "chelsea-a-cat-regions.json");
    assert_eq!(regions["components"].as_array().unwrap().len(), count);
    assert_eq!((&regions["area"], &regions["min_area"]), (&after.area().into(), &largest.into()));
    assert_eq!(report["prompts"][0]["area"], after.area());

    let same = |name: &str| {
        let [one, other] =
            [&whole, &parts].map(|workspace| fs::read(workspace.path("out").join(name)).unwrap());
        one == other
    };
    assert!(same("chelsea-a-cat-probability.png"));
    assert!(!same("chelsea-a-cat-overlay.png") && !same("chelsea-labels.png"));
}

/// The values of a picture with a palette, which the `image` crate turns into colours, and the palette.
fn indexed(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let file = std::io::BufReader::new(fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    assert_eq!(reader.info().color_type, png::ColorType::Indexed);
    let palette = reader.info().palette.clone().unwrap().into_owned();
    let mut values = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut values).unwrap();
    (values, palette)
}

#[test]
fn labels_are_the_most_probable_prompts() {
    let workspace = Workspace::tiny();
    let report = segment(&workspace, &["--save", "npy,labels", "--threshold", THRESHOLD]);
    let [cat, root] = NAMES.map(|name| npy(&workspace.path("out").join(format!("{name}-probability.npy"))));
    let [map, legend] = ["map", "legend"].map(|file| report["labels"][file].as_str().unwrap());
    assert_eq!(
        workspace.files("out"),
        [
            "chelsea-a-cat-probability.npy",
            "chelsea-beet-root-probability.npy",
            "chelsea-labels.json",
            "chelsea-labels.png"
        ]
    );

    let (labels, palette) = indexed(Path::new(map));
    let threshold: f32 = THRESHOLD.parse().unwrap();
    for ((&label, &cat), &root) in labels.iter().zip(&cat).zip(&root) {
        let best = if root > cat { 2 } else { 1 };
        assert_eq!(label, if cat.max(root) >= threshold { best } else { 0 }, "{cat} {root}");
    }
    let legend: Value = serde_json::from_slice(&fs::read(legend).unwrap()).unwrap();
    let expected = [Value::Null, "a cat".into(), "beet root".into()];
    for (entry, (label, prompt)) in legend["labels"].as_array().unwrap().iter().zip((0_u8..).zip(expected)) {
        assert_eq!((&entry["label"], &entry["prompt"]), (&label.into(), &prompt));
        assert_eq!(entry["area"], labels.iter().filter(|&&other| other == label).count());
        let colour: String =
            palette[3 * usize::from(label)..][..3].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(entry["colour"], format!("#{colour}"));
    }
    assert_eq!(legend["labels"].as_array().unwrap().len(), 3);
}

#[test]
fn the_text_names_every_file() {
    let workspace = Workspace::tiny();
    let mut arguments = workspace.segment();
    arguments.extend(["--save", "labels,regions,mask"].map(str::to_owned));
    let text = succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let wrote: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("wrote ")).collect();
    let out = workspace.argument("out");
    let expected = ["a-cat-mask.png", "a-cat-regions.json", "labels.png", "labels.json"]
        .map(|name| format!("{out}/chelsea-{name}"));
    assert_eq!(wrote, expected);
    assert_eq!(workspace.files("out").len(), expected.len());
}
