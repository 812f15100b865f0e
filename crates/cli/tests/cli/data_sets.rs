//! What `segment --save coco,yolo` writes for a folder of photos.

mod earlier;
mod folders;

use std::fs;
use std::path::Path;

use clipseg::masks::{Connectivity, Mask, RunLengths};
use serde_json::Value;

use crate::inputs::sideways_coffee;
use crate::support::{Workspace, clipseg, fixture, refuse, succeed};

/// A workspace with both scenes of the fixtures, one of them within a folder, and a file that is not a photo.
fn with_scenes() -> Workspace {
    let workspace = Workspace::empty();
    fs::create_dir_all(workspace.path("photos/more")).unwrap();
    for (from, to) in [("scene-1.png", "scene.png"), ("scene-2.png", "more/scene.png")] {
        fs::copy(fixture("shapes").join(from), workspace.path("photos").join(to)).unwrap();
    }
    workspace.write("photos/broken.jpg", b"not a photo");
    workspace
}

fn arguments(workspace: &Workspace, more: &[&str]) -> Vec<String> {
    let model = fixture("models/clipseg-shapes");
    let [photos, out] = ["photos", "out"].map(|name| workspace.argument(name));
    let start = ["segment", "--model", model.to_str().unwrap(), &photos, "--recursive", "--out", &out];
    let prompts = ["-p", "a circle=round", "-p", "a ring=round", "-p", "a crescent"];
    [&start[..], &prompts, more].concat().into_iter().map(str::to_owned).collect()
}

fn run(workspace: &Workspace, more: &[&str]) -> String {
    let arguments = arguments(workspace, more);
    let output = clipseg(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "one photo is broken: {stderr}");
    assert!(stderr.contains("broken.jpg") && stderr.contains("1 of 3 photos"), "{stderr}");
    stderr
}

fn json(workspace: &Workspace, name: &str) -> Value {
    serde_json::from_slice(&fs::read(workspace.path(name)).unwrap()).unwrap()
}

fn mask(workspace: &Workspace, name: &str) -> Mask {
    let picture = image::open(workspace.path("out").join(name)).unwrap().into_luma8();
    let (width, height) = picture.dimensions();
    let pixels = picture.into_raw().iter().map(|&value| value == 255).collect();
    Mask::new(width as usize, height as usize, pixels).unwrap()
}

/// The pixels whose centre lies within a polygon of pixels' corners.
fn filled(size: usize, polygon: &[f64]) -> Mask {
    let (points, _) = polygon.as_chunks::<2>();
    let crossed = |x: f64, y: f64| {
        let edges = points.iter().zip(points.iter().cycle().skip(1));
        edges
            .filter(|([x0, y0], [x1, y1])| {
                (*y0 > y) != (*y1 > y) && x0 + (y - y0) / (y1 - y0) * (x1 - x0) > x
            })
            .count()
    };
    let centre = |place: usize| ((place % size) as f64 + 0.5, (place / size) as f64 + 0.5);
    let pixels = (0..size * size).map(centre).map(|(x, y)| crossed(x, y) % 2 == 1).collect();
    Mask::new(size, size, pixels).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[test]
fn coco_describes_every_part_exactly() {
    let workspace = with_scenes();
    run(&workspace, &["--save", "coco,mask"]);
    let coco = json(&workspace, "out/annotations.json");
    assert_eq!(coco["info"]["photos"], workspace.argument("photos"));
    let names: Vec<_> =
        coco["categories"].as_array().unwrap().iter().map(|one| (&one["id"], &one["name"])).collect();
    assert_eq!(names, [(&1.into(), &"round".into()), (&2.into(), &"a crescent".into())]);
    let images: Vec<_> =
        coco["images"].as_array().unwrap().iter().map(|one| (&one["id"], &one["file_name"])).collect();
    assert_eq!(images, [(&1.into(), &"more/scene.png".into()), (&2.into(), &"scene.png".into())]);
    let annotations = coco["annotations"].as_array().unwrap();
    let mut kinds = [0; 2];
    for (id, annotation) in (1..).zip(annotations) {
        assert_eq!((&annotation["id"], &annotation["iscrowd"]), (&id.into(), &0.into()));
        assert!((0.5..=1.0).contains(&annotation["score"].as_f64().unwrap()));
        let segmentation = &annotation["segmentation"];
        let part = match segmentation.as_array() {
            Some(polygons) => {
                kinds[0] += 1;
                assert_eq!(polygons.len(), 1);
                filled(256, &numbers(&polygons[0]))
            }
            None => {
                kinds[1] += 1;
                assert_eq!(numbers(&segmentation["size"]), [256.0, 256.0]);
                let counts = numbers(&segmentation["counts"]).iter().map(|&count| count as u32).collect();
                RunLengths::from_counts(256, 256, counts).unwrap().to_mask()
            }
        };
        assert_eq!(annotation["area"], part.area());
        let bounds = part.bounding_box().unwrap().to_array();
        assert_eq!(numbers(&annotation["bbox"]), bounds.map(f64::from));
    }
    assert!(kinds[0] > 0 && kinds[1] > 0, "a ring has a hole, a circle has none: {kinds:?}");
    for (image, category, name) in [
        (1, 1, "more/scene-round"),
        (1, 2, "more/scene-a-crescent"),
        (2, 1, "scene-round"),
        (2, 2, "scene-a-crescent"),
    ] {
        let whole = mask(&workspace, &format!("{name}-mask.png"));
        let of_both = |one: &&Value| one["image_id"] == image && one["category_id"] == category;
        let parts: Vec<_> = annotations.iter().filter(of_both).collect();
        assert_eq!(parts.len(), whole.components(Connectivity::Eight).list().len(), "{name}");
        let area: u64 = parts.iter().map(|part| part["area"].as_u64().unwrap()).sum();
        assert_eq!(area, whole.area() as u64);
    }
}

#[test]
fn yolo_has_a_file_for_each_photo() {
    let workspace = with_scenes();
    // A kind of photo that ultralytics does not read, and one whose ending it does not know.
    let scene = image::open(fixture("shapes/scene-1.png")).unwrap();
    scene.save(workspace.path("photos/still.gif")).unwrap();
    let output = clipseg(
        &arguments(&workspace, &["--save", "yolo,mask", "--json"])
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("holes") && stderr.contains("--save coco keeps them"), "{stderr}");
    let files = [
        "data.yaml",
        "images/more/scene.png",
        "images/scene.png",
        "images/still.png",
        "labels/more/scene.txt",
        "labels/scene.txt",
        "labels/still.txt",
    ];
    let written = workspace.tree("out");
    let written: Vec<_> = written.iter().filter(|name| !name.ends_with("-mask.png")).collect();
    assert_eq!(written, files.iter().collect::<Vec<_>>());
    let [copy, photo] =
        ["out/images/scene.png", "photos/scene.png"].map(|name| fs::read(workspace.path(name)).unwrap());
    assert!(copy == photo);
    let yaml = fs::read_to_string(workspace.path("out/data.yaml")).unwrap();
    assert!(
        yaml.contains("train: images\nval: images\nnames:\n  0: \"round\"\n  1: \"a crescent\"\n"),
        "{yaml}"
    );
    let labels = fs::read_to_string(workspace.path("out/labels/more/scene.txt")).unwrap();
    let mut found = [
        Mask::new(256, 256, vec![false; 256 * 256]).unwrap(),
        Mask::new(256, 256, vec![false; 256 * 256]).unwrap(),
    ];
    for line in labels.lines() {
        let (class, points) = line.split_once(' ').unwrap();
        let points: Vec<f64> = points.split(' ').map(|number| number.parse().unwrap()).collect();
        assert!(points.len() >= 8 && points.iter().all(|share| (0.0..=1.0).contains(share)));
        let points: Vec<_> = points.iter().map(|share| (share * 256.0).round()).collect();
        let class: usize = class.parse().unwrap();
        found[class] = found[class].union(&filled(256, &points)).unwrap();
    }
    for (found, name) in found.iter().zip(["round", "a-crescent"]) {
        let mask = mask(&workspace, &format!("more/scene-{name}-mask.png"));
        // Holes are filled; these two have none.
        assert_eq!(*found, mask, "{name}");
    }

    // The data set can be written into the same folder again, which is recognised as ours, but not into a
    // folder with somebody else's labels.
    run_again(&workspace);
    workspace.write("out/data.yaml", b"names: {0: mine}");
    let arguments = arguments(&workspace, &["--save", "yolo"]);
    refuse(
        &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        &["--save yolo", "did not write", "--out"],
    );
}

fn run_again(workspace: &Workspace) {
    let before = workspace.tree("out");
    let output =
        clipseg(&arguments(workspace, &["--save", "yolo"]).iter().map(String::as_str).collect::<Vec<_>>());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("1 of 4 photos"), "{stderr}");
    assert_eq!(workspace.tree("out"), before);
}

// Readers turn a JPEG as its camera says, unlike --ignore-exif.
#[test]
fn labels_and_pictures_lie_the_same_way() {
    let workspace = Workspace::empty();
    workspace.write("coffee.jpg", &sideways_coffee());
    let model = fixture("models/clipseg-shapes");
    let [photo, out, stored] = ["coffee.jpg", "out", "stored"].map(|name| workspace.argument(name));
    // Nothing is so certain, and no hole warned of.
    let upright = [
        "segment",
        "--model",
        model.to_str().unwrap(),
        &photo,
        "-p",
        "a circle",
        "--threshold",
        "1",
        "--save",
        "yolo",
        "--out",
    ];
    succeed(&[&upright[..], &[&out]].concat());
    assert_eq!(workspace.files("out/images"), ["coffee.jpg"]);
    assert!(fs::read(workspace.path("out/images/coffee.jpg")).unwrap() == sideways_coffee());
    succeed(&[&upright[..], &[&stored, "--ignore-exif"]].concat());
    assert_eq!(workspace.files("stored/images"), ["coffee.png"]);
    let picture = image::open(workspace.path("stored/images/coffee.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (600, 400));
}

/// Readers go by a file's content, whatever its ending says.
#[test]
fn pictures_with_another_kinds_ending_are_written_anew() {
    let workspace = Workspace::empty();
    let scene = image::open(fixture("shapes/scene-1.png")).unwrap();
    fs::create_dir(workspace.path("photos")).unwrap();
    for (name, format) in [
        ("animation.jpg", image::ImageFormat::Gif),
        ("download.jpg", image::ImageFormat::WebP),
        ("photo.png", image::ImageFormat::Png),
    ] {
        scene.to_rgb8().save_with_format(workspace.path("photos").join(name), format).unwrap();
    }
    let model = fixture("models/clipseg-shapes");
    let [photos, out] = ["photos", "out"].map(|name| workspace.argument(name));
    let model = model.to_str().unwrap();
    succeed(&["segment", "--model", model, &photos, "-p", "a circle", "--save", "yolo", "--out", &out]);
    assert_eq!(workspace.files("out/images"), ["animation.png", "download.png", "photo.png"]);
}

#[test]
fn photos_of_one_name_have_files_of_their_own() {
    let workspace = Workspace::empty();
    for folder in ["a", "b"] {
        fs::create_dir(workspace.path(folder)).unwrap();
        let scene = if folder == "a" { "shapes/scene-1.png" } else { "shapes/scene-2.png" };
        fs::copy(fixture(scene), workspace.path(folder).join("scene.png")).unwrap();
    }
    let model = fixture("models/clipseg-shapes");
    let [a, b, out] = ["a", "b", "out"].map(|name| workspace.argument(name));
    let text = succeed(&[
        "segment",
        "--model",
        model.to_str().unwrap(),
        &a,
        &b,
        "-p",
        "a square",
        "--save",
        "yolo,coco",
        "--out",
        &out,
    ]);
    assert!(text.ends_with(&format!("wrote {out}/annotations.json\nwrote {out}/data.yaml\n")), "{text}");
    assert_eq!(
        workspace.tree("out"),
        [
            "annotations.json",
            "data.yaml",
            "images/scene-2.png",
            "images/scene.png",
            "labels/scene-2.txt",
            "labels/scene.txt"
        ]
    );
    let coco = json(&workspace, "out/annotations.json");
    assert_eq!(coco["images"][1]["file_name"], "b/scene.png");
    let labels = |name: &str| fs::read_to_string(workspace.path("out/labels").join(name)).unwrap();
    assert!(labels("scene.txt").starts_with("0 ") && labels("scene-2.txt").is_empty());
    assert!(Path::new(&out).join("images/scene-2.png").exists());
}

/// The arguments that segment photos into the data sets in `out`.
fn into_data_sets<'a>(model: &'a str, photos: &[&'a str], out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["segment", "--model", model], photos, &["--out", out], more].concat()
}

#[test]
fn a_photo_is_in_a_data_set_once() {
    let workspace = with_scenes();
    let model = fixture("models/clipseg-shapes");
    let [scene, same, out] =
        ["photos/scene.png", "photos/more/../scene.png", "out"].map(|name| workspace.argument(name));
    let more = ["--save", "coco,yolo", "-p", "a square"];
    let photos = [scene.as_str(), &same, &scene];
    let output = clipseg(&into_data_sets(model.to_str().unwrap(), &photos, &out, &more));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.starts_with("warning: ") && stderr.contains(&format!("{same}: is left out, as 2 of")),
        "{stderr}"
    );
    assert_eq!(json(&workspace, "out/annotations.json")["images"].as_array().unwrap().len(), 1);
    assert_eq!(workspace.files("out/labels"), ["scene.txt"]);
}

#[test]
fn turned_photos_in_coco_are_told_of() {
    let workspace = Workspace::empty();
    workspace.write("coffee.jpg", &sideways_coffee());
    let model = fixture("models/clipseg-shapes");
    let [photo, out, stored] = ["coffee.jpg", "out", "stored"].map(|name| workspace.argument(name));
    let more = ["--save", "coco", "-p", "a circle", "--threshold", "1"];
    let output = clipseg(&into_data_sets(model.to_str().unwrap(), &[&photo], &out, &more));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.starts_with("warning: --save coco: ") && stderr.contains("turned: 1;"), "{stderr}");
    assert!(stderr.contains("--ignore-exif") && stderr.lines().count() == 1, "{stderr}");
    succeed(&into_data_sets(model.to_str().unwrap(), &[&photo, "--ignore-exif"], &stored, &more));
    // TIFFs are turned all the same.
    fs::copy(fixture("processor/kinds/orientation-6.tif"), workspace.path("turned.tif")).unwrap();
    let [photo, out] = ["turned.tif", "tiff"].map(|name| workspace.argument(name));
    let output = clipseg(&into_data_sets(model.to_str().unwrap(), &[&photo, "--ignore-exif"], &out, &more));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("turned: 1;"), "{stderr}");
}
