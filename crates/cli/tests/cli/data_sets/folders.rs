//! `segment --save yolo` for photos in folders whose names mean something to those who read the data set.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Workspace, fixture, refuse, succeed};

/// Where ultralytics looks for the labels of a picture: `img2label_paths` in its `data/utils.py`.
fn labels_of(picture: &str) -> PathBuf {
    let (before, behind) = picture.rsplit_once("/images/").unwrap();
    let (name, _ending) = behind.rsplit_once('.').unwrap();
    format!("{before}/labels/{name}.txt").into()
}

fn workspace(photos: &[&str]) -> Workspace {
    let workspace = Workspace::empty();
    for photo in photos {
        let path = workspace.path("photos").join(photo);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(fixture("shapes/scene-1.png"), path).unwrap();
    }
    workspace
}

fn arguments(workspace: &Workspace, save: &str) -> Vec<String> {
    let model = fixture("models/clipseg-shapes");
    let [photos, out] = ["photos", "out"].map(|name| workspace.argument(name));
    let start = ["segment", "--model", model.to_str().unwrap(), &photos, "--recursive", "--out", &out];
    [&start[..], &["-p", "a square", "--save", save]].concat().into_iter().map(str::to_owned).collect()
}

fn run(workspace: &Workspace, save: &str) {
    succeed(&arguments(workspace, save).iter().map(String::as_str).collect::<Vec<_>>());
}

/// What lies among the pictures of a data set is trained with.
#[test]
fn pictures_without_labels_are_refused() {
    let workspace = workspace(&["images/a.png", "b.png"]);
    let photos = workspace.argument("photos");
    let mut into_itself = arguments(&workspace, "yolo");
    let out = into_itself.iter().position(|argument| argument == "--out").unwrap();
    into_itself[out + 1].clone_from(&photos);
    let refused: Vec<_> = into_itself.iter().map(String::as_str).collect();
    refuse(&refused, &["--save yolo", "images/a.png", "choose another --out"]);
    assert!(!workspace.path("photos/labels").exists() && !workspace.path("photos/data.yaml").exists());
    // Where each of them is segmented in its place, it has labels.
    into_itself[3] = workspace.argument("photos/images");
    succeed(&into_itself.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(labels_of(&format!("{photos}/images/a.png")).exists());
}

#[test]
fn every_picture_is_found_with_its_labels() {
    let photos =
        ["con.png", "images/a.png", "images-2/a.png", "train/images/b.png", "train/images/images/c.d.png"];
    let workspace = workspace(&photos);
    run(&workspace, "yolo,mask");
    let pictures = [
        "con-2.png",
        "images-2/a-2.png",
        "images-2/a.png",
        "train/images-2/b.png",
        "train/images-2/images-2/c.d.png",
    ];
    assert_eq!(workspace.tree("out/images"), pictures, "all of these are pictures to train with");
    for picture in pictures {
        let labels = labels_of(&format!("{}/{picture}", workspace.argument("out/images")));
        assert!(labels.is_file(), "{}", labels.display());
        let mask = Path::new(picture).with_extension("").display().to_string() + "-a-square-mask.png";
        assert!(workspace.path("out").join(&mask).is_file(), "{mask}");
    }
    let tree = workspace.tree("out");
    // Again, and with other results alone.
    run(&workspace, "yolo,mask");
    run(&workspace, "mask");
    assert_eq!(
        workspace.tree("out").iter().filter(|name| name.starts_with("images/")).count(),
        pictures.len()
    );
    assert_eq!(workspace.tree("out").iter().filter(|name| tree.contains(name)).count(), tree.len());
}

#[test]
fn results_of_an_earlier_run_do_not_become_pictures() {
    let workspace = workspace(&["images/a.png"]);
    run(&workspace, "mask");
    assert_eq!(workspace.tree("out"), ["images/a-a-square-mask.png"]);
    let arguments = arguments(&workspace, "yolo");
    refuse(
        &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        &["--save yolo", "images/a-a-square-mask.png", "earlier run", "--out"],
    );
}
