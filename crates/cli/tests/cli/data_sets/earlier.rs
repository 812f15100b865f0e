//! `segment --save coco,yolo` where files of an earlier run, or of somebody else, are there already.

use std::fs;
use std::path::Path;

use super::{arguments, into_data_sets, json, with_scenes};
use crate::support::{Workspace, clipseg, fail, fixture, refuse, succeed};

#[test]
fn photos_of_others_are_not_overwritten() {
    let workspace = Workspace::empty();
    fs::create_dir_all(workspace.path("out/images")).unwrap();
    workspace.write("out/images/scene-1.png", b"somebody's own");
    let [model, photo] = ["models/clipseg-shapes", "shapes/scene-1.png"].map(fixture);
    let out = workspace.argument("out");
    let [model, photo] = [&model, &photo].map(|path| path.to_str().unwrap());
    refuse(
        &["segment", "--model", model, photo, "-p", "a circle", "--save", "yolo", "--out", &out],
        &["images/scene-1.png", "another picture", "--out"],
    );
    assert_eq!(fs::read(workspace.path("out/images/scene-1.png")).unwrap(), b"somebody's own");

    // Photos that are in the data set's folder already stay there.
    fs::copy(photo, workspace.path("out/images/scene-1.png")).unwrap();
    let images = workspace.argument("out/images");
    succeed(&["segment", "--model", model, &images, "-p", "a circle", "--save", "yolo", "--out", &out]);
    assert_eq!(workspace.tree("out"), ["data.yaml", "images/scene-1.png", "labels/scene-1.txt"]);
}

// What is there but cannot be read is not taken for missing.
#[cfg(unix)]
#[test]
fn what_cannot_be_compared_is_not_overwritten() {
    let workspace = Workspace::empty();
    fs::create_dir_all(workspace.path("out/images")).unwrap();
    let scene = image::open(fixture("shapes/scene-1.png")).unwrap();
    for name in ["still.gif", "scene.png"] {
        scene.save(workspace.path(name)).unwrap();
        let copy = workspace.path("out/images").join(Path::new(name).with_extension("png"));
        std::os::unix::fs::symlink("a disk that is not mounted", &copy).unwrap();
        let model = fixture("models/clipseg-shapes");
        let [photo, out] = [name, "out"].map(|name| workspace.argument(name));
        refuse(
            &[
                "segment",
                "--model",
                model.to_str().unwrap(),
                &photo,
                "-p",
                "a circle",
                "--save",
                "yolo",
                "--out",
                &out,
            ],
            &["cannot compare", copy.to_str().unwrap()],
        );
        assert!(fs::symlink_metadata(&copy).unwrap().is_symlink());
    }
    assert!(!workspace.path("out/labels").exists());
}

#[test]
fn a_data_set_among_the_photos_is_not_taken_for_photos() {
    let workspace = with_scenes();
    fs::remove_file(workspace.path("photos/broken.jpg")).unwrap();
    let mut arguments = arguments(&workspace, &["--save", "yolo,coco"]);
    let out = arguments.iter().position(|argument| argument == "--out").unwrap() + 1;
    arguments[out] = workspace.argument("photos/set");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let first = clipseg(&arguments);
    assert!(first.status.success(), "{first:?}");
    let tree = workspace.tree("photos");
    let again = clipseg(&arguments);
    let stderr = String::from_utf8(again.stderr).unwrap();
    assert!(again.status.success() && stderr.contains("photos/set/images: is left out"), "{stderr}");
    assert_eq!(workspace.tree("photos"), tree);
    assert_eq!(json(&workspace, "photos/set/annotations.json")["images"].as_array().unwrap().len(), 2);
    workspace.write("photos/set/annotations.json", b"{\"info\": \"mine\"}");
    refuse(&arguments_of_others(&arguments), &["--save coco", "annotations.json", "did not write"]);
    assert_eq!(fs::read(workspace.path("photos/set/annotations.json")).unwrap(), b"{\"info\": \"mine\"}");
}

/// The same arguments without `--recursive`, so that there is no warning beside the refusal.
fn arguments_of_others<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().copied().filter(|argument| *argument != "--recursive").collect()
}

#[test]
fn labels_of_an_earlier_run_keep_their_meaning() {
    let workspace = Workspace::empty();
    for (name, scene) in [("a/scene.png", "scene-1.png"), ("b/scene.png", "scene-2.png")] {
        fs::create_dir_all(workspace.path(name).parent().unwrap()).unwrap();
        fs::copy(fixture("shapes").join(scene), workspace.path(name)).unwrap();
    }
    let scene = image::open(fixture("shapes/scene-2.png")).unwrap();
    scene.save(workspace.path("b/scene.bmp")).unwrap();
    let model = fixture("models/clipseg-shapes");
    let [a, b, bitmap, out] =
        ["a/scene.png", "b/scene.png", "b/scene.bmp", "out"].map(|name| workspace.argument(name));
    let run = |photo: &str, prompts: &[&str]| {
        let arguments = into_data_sets(model.to_str().unwrap(), &[photo], &out, &["--save", "yolo"]);
        arguments.iter().chain(prompts).map(|&argument| argument.to_owned()).collect::<Vec<_>>()
    };
    let of_coco = workspace.argument("coco");
    let run_coco = |prompts: &[&str]| {
        let arguments = into_data_sets(model.to_str().unwrap(), &[&a], &of_coco, &["--save", "coco"]);
        arguments.iter().chain(prompts).map(|&argument| argument.to_owned()).collect::<Vec<_>>()
    };
    let square = ["-p", "a square"];
    let refused = |photo: &str, prompts: &[&str], words: &[&str]| {
        let before: Vec<_> = workspace.tree("out").iter().map(|name| content(&workspace, name)).collect();
        let arguments = run(photo, prompts);
        refuse(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), words);
        let after: Vec<_> = workspace.tree("out").iter().map(|name| content(&workspace, name)).collect();
        assert!(before == after, "{arguments:?}");
    };
    let first = run(&a, &square);
    succeed(&first.iter().map(String::as_str).collect::<Vec<_>>());
    succeed(&run_coco(&square).iter().map(String::as_str).collect::<Vec<_>>());
    let annotations = fs::read(workspace.path("coco/annotations.json")).unwrap();
    // Other classes, in another order, or more of them.
    for prompts in
        [&["-p", "a circle"][..], &["-p", "a circle", "-p", "a square"], &["-p", "a square", "-p", "x"]]
    {
        refused(&a, prompts, &["--save yolo", "data.yaml", "\"a square\"", "other classes", "--out"]);
        let words = ["--save coco", "annotations.json", "\"a square\"", "other classes", "--out"];
        refuse(&run_coco(prompts).iter().map(String::as_str).collect::<Vec<_>>(), &words);
        assert!(fs::read(workspace.path("coco/annotations.json")).unwrap() == annotations);
    }
    // Other photos of that name.
    refused(&b, &square, &["images/scene.png", "another picture", "--out"]);
    refused(&bitmap, &square, &["images/scene.png", "images/scene.bmp", "same file of labels", "--out"]);
    // Photos that lie in the data set and have the same name, by a relative path.
    scene.save(workspace.path("out/images/scene.bmp")).unwrap();
    let run_there = |photo: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_clipseg"));
        let arguments = into_data_sets(model.to_str().unwrap(), &[photo], "out", &["--save", "yolo"]);
        command.current_dir(workspace.path("")).args(arguments).args(square).output().unwrap()
    };
    for photo in ["out/images/scene.png", "out/images/scene.bmp"] {
        let stderr = String::from_utf8(run_there(photo).stderr).unwrap();
        assert!(stderr.contains("would have the same file of labels"), "{photo}: {stderr}");
    }
    fs::remove_file(workspace.path("out/images/scene.bmp")).unwrap();
    assert!(run_there("out/images/scene.png").status.success());
    // More photos of the same classes.
    workspace.photo("c/scene-9.png");
    let more = workspace.argument("c/scene-9.png");
    let more = run(&more, &square);
    assert!(clipseg(&more.iter().map(String::as_str).collect::<Vec<_>>()).status.success());
    assert!(workspace.path("out/labels/scene-9.txt").exists());
}

fn content(workspace: &Workspace, name: &str) -> (String, Vec<u8>) {
    (name.to_owned(), fs::read(workspace.path("out").join(name)).unwrap())
}

#[test]
fn photos_of_an_earlier_run_stay_in_coco() {
    let workspace = with_scenes();
    fs::remove_file(workspace.path("photos/broken.jpg")).unwrap();
    let model = fixture("models/clipseg-shapes");
    let [one, two, same, photos, out] =
        ["photos/scene.png", "photos/more/scene.png", "photos/more/../scene.png", "photos", "out"]
            .map(|name| workspace.argument(name));
    let more = ["--save", "coco", "-p", "a circle"];
    let coco = |photos: &[&str]| {
        let arguments = into_data_sets(model.to_str().unwrap(), photos, &out, &more);
        arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>()
    };
    let run = |photos: &[&str]| succeed(&coco(photos).iter().map(String::as_str).collect::<Vec<_>>());
    run(&[&one]);
    run(&[&same]);
    let before = content(&workspace, "annotations.json");
    let refused = |photos: &[&str], words: &[&str]| {
        refuse(&coco(photos).iter().map(String::as_str).collect::<Vec<_>>(), words);
    };
    refused(&[&two], &["--save coco", "annotations.json", "does not have: 1", "scene.png", "--out"]);
    assert!(content(&workspace, "annotations.json") == before);
    run(&[&photos, "--recursive"]);
    assert_eq!(json(&workspace, "out/annotations.json")["images"].as_array().unwrap().len(), 2);
    // A photo that fails this time does not take its earlier annotations along.
    let before = content(&workspace, "annotations.json");
    let scene = fs::read(workspace.path("photos/scene.png")).unwrap();
    workspace.write("photos/scene.png", b"not a photo");
    let arguments = coco(&[&photos, "--recursive"]);
    let (_, stderr) = fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let words = [
        "warning: --save coco: ",
        "annotations.json stays",
        "again: 1; ",
        "annotations.partial.json has",
        ": 1",
    ];
    assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
    assert!(content(&workspace, "annotations.json") == before);
    let partial = json(&workspace, "out/annotations.partial.json");
    assert_eq!(partial["images"].as_array().unwrap().len(), 1);
    workspace.write("photos/scene.png", &scene);
    run(&[&photos, "--recursive"]);
    assert_eq!(workspace.files("out"), ["annotations.json"]);
    workspace.edit("out/annotations.json", "\"images\":[", "\"images\":{");
    refused(&[&photos, "--recursive"], &["--save coco", "annotations.json", "cannot be read", "remove it"]);
}
