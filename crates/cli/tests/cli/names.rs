//! What `segment` calls its files, and what it never overwrites.

use std::fs;
use std::process::Command;

use crate::support::{Workspace, clipseg, fail, fixture, refuse, reports, succeed};

fn with<'a>(arguments: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

#[test]
fn every_result_has_a_file_of_its_own() {
    let workspace = Workspace::tiny();
    for name in ["cat.png", "cat-black.png", "Cat.png"] {
        workspace.photo(&format!("photos/{name}"));
    }
    let arguments = workspace.masks(&["photos"], "out");
    let more = ["-p", "black dog", "-p", "dog", "--save", "mask,labels", "--json"];
    let reports = reports(&succeed(&with(&arguments, &more)));
    let mut files = Vec::new();
    for report in &reports {
        files.extend(report["prompts"].as_array().unwrap().iter().map(|prompt| &prompt["files"]["mask"]));
        files.extend([&report["labels"]["map"], &report["labels"]["legend"]]);
    }
    let mut names: Vec<_> = files.iter().map(|file| file.as_str().unwrap().to_lowercase()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3 * (3 + 2));
    assert_eq!(workspace.files("out").len(), names.len());
}

#[test]
fn names_of_any_script_and_length_fit() {
    let workspace = Workspace::tiny();
    workspace.photo(&format!("photos/{}.png", "猫".repeat(70)));
    let prompt = "猫".repeat(25);
    let arguments = workspace.masks(&["photos"], "out");
    // The tiny model cuts such a prompt, with a warning.
    let output = clipseg(&with(&arguments, &["-p", &prompt, "--save", "probability16"]));
    assert!(output.status.success(), "{output:?}");
    let names = workspace.files("out");
    assert_eq!(names.len(), 2 * 2);
    assert!(names.iter().any(|name| name.ends_with(&format!("-{prompt}-probability16.png"))), "{names:?}");
}

#[test]
fn results_beside_the_photos_neither_overwrite_nor_become_photos() {
    let workspace = Workspace::tiny();
    workspace.photo("photos/cat.png");
    // A photo that has the name of a result.
    workspace.photo("photos/within/dog-a-cat-mask.png");
    workspace.photo("photos/within/dog.png");
    let photo = fs::read(fixture("photos/chelsea.png")).unwrap();
    let arguments = workspace.masks(&["photos"], "photos");
    let more = ["--recursive", "--save", "probability,mask,overlay,probability16,labels,npy"];
    succeed(&with(&arguments, &more));
    let first = workspace.tree("photos");
    assert_eq!(first.len(), 3 + 3 * 7);
    assert!(first.contains(&"within/dog-2-a-cat-mask.png".to_owned()), "{first:?}");
    let stdout = succeed(&with(&arguments, &[&more[..], &["--json"]].concat()));
    assert_eq!((workspace.tree("photos"), reports(&stdout).len()), (first, 3));
    for name in ["cat.png", "within/dog-a-cat-mask.png", "within/dog.png"] {
        assert!(fs::read(workspace.path("photos").join(name)).unwrap() == photo, "{name}");
    }
}

#[test]
fn a_picture_of_others_in_the_output_folder_stays() {
    let workspace = Workspace::tiny();
    workspace.photo("cat.png");
    workspace.photo("out/CAT-a-cat-mask.png");
    succeed(&with(&workspace.masks(&["cat.png"], "out"), &[]));
    assert_eq!(workspace.files("out"), ["CAT-a-cat-mask.png", "cat-2-a-cat-mask.png"]);
    let photo = fs::read(fixture("photos/chelsea.png")).unwrap();
    assert!(fs::read(workspace.path("out/CAT-a-cat-mask.png")).unwrap() == photo);
}

/// Such files may lie beside the photos, of programs that name theirs as this one does.
#[test]
fn files_of_others_in_the_output_folder_stay() {
    let workspace = Workspace::tiny();
    workspace.photo("cat.png");
    fs::create_dir(workspace.path("out")).unwrap();
    let kinds = ["--save", "npy,regions,labels"];
    for name in ["cat-a-cat-probability.npy", "cat-2-a-cat-regions.json", "cat-3-LABELS.json"] {
        workspace.write(&format!("out/{name}"), b"{\"another\": 1}");
    }
    succeed(&with(&workspace.masks(&["cat.png"], "out"), &kinds));
    let names = workspace.files("out");
    assert_eq!(names.iter().filter(|name| name.starts_with("cat-4-")).count(), 5, "{names:?}");
    // What the command wrote is replaced.
    succeed(&with(&workspace.masks(&["cat.png"], "out"), &kinds));
    assert_eq!(workspace.files("out"), names);
    let others = names.iter().filter(|name| !name.starts_with("cat-4-"));
    for name in others {
        assert_eq!(fs::read(workspace.path("out").join(name)).unwrap(), b"{\"another\": 1}", "{name}");
    }
}

#[test]
fn results_that_are_named_are_not_taken_for_photos() {
    let workspace = Workspace::tiny();
    workspace.photo("cat.png");
    succeed(&with(&workspace.masks(&["cat.png"], "out"), &[]));
    let result = "out/cat-a-cat-mask.png";
    refuse(&with(&workspace.masks(&[result], "out"), &[]), &[result, "clipseg wrote"]);
    let output = clipseg(&with(&workspace.masks(&[result, "cat.png"], "out"), &["--json"]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.starts_with("warning: "), "{stderr}");
    assert_eq!(reports(&String::from_utf8(output.stdout).unwrap()).len(), 1);
}

#[test]
fn a_result_that_cannot_be_written_is_one_failure() {
    let workspace = Workspace::tiny();
    for name in ["photos/a.png", "photos/b/b.png", "photos/c.png"] {
        workspace.photo(name);
    }
    fs::create_dir(workspace.path("out")).unwrap();
    workspace.write("out/b", b"no folder");
    let (stdout, stderr) = fail(&with(&workspace.masks(&["photos"], "out"), &["--recursive", "--json"]));
    let failed: Vec<_> = reports(&stdout).iter().map(|report| report.get("error").is_some()).collect();
    assert_eq!(failed, [false, true, false]);
    for part in ["cannot write", "1 of 3 photos could not be segmented"] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    assert_eq!(workspace.files("out"), ["a-a-cat-mask.png", "b", "c-a-cat-mask.png"]);
}

#[test]
fn runs_that_share_a_new_folder_leave_it_to_each_other() {
    let workspace = Workspace::tiny();
    workspace.photo("cat.png");
    workspace.write("broken.png", b"not a photo");
    let run = |photo: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clipseg"));
        command.args(workspace.masks(&[photo], "new/out")).output().unwrap()
    };
    std::thread::scope(|scope| {
        let [good, bad] = ["cat.png", "broken.png"].map(|photo| scope.spawn(move || run(photo)));
        assert!(good.join().unwrap().status.success());
        assert!(!bad.join().unwrap().status.success());
    });
    assert_eq!(workspace.files("new/out"), ["cat-a-cat-mask.png"]);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf_8_pass_through_reports() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let workspace = Workspace::tiny();
    for name in [&b"caf\xe9.png"[..], b"caf\xe8.png"] {
        fs::create_dir_all(workspace.path("photos\u{fffd}")).unwrap();
        let path = workspace.path("photos\u{fffd}").join(OsStr::from_bytes(name));
        fs::copy(fixture("photos/chelsea.png"), path).unwrap();
    }
    let arguments = workspace.masks(&["photos\u{fffd}"], "out");
    let reports = reports(&succeed(&with(&arguments, &["--json", "--save", "mask,regions,labels"])));
    for (report, name) in reports.iter().zip(["caf\\xE8.png", "caf\\xE9.png"]) {
        assert!(report["photo"].as_str().unwrap().ends_with(name), "{report}");
        let regions = fs::read(report["prompts"][0]["files"]["regions"].as_str().unwrap()).unwrap();
        let regions: serde_json::Value = serde_json::from_slice(&regions).unwrap();
        assert_eq!(regions["photo"], report["photo"]);
    }
    assert_eq!(workspace.files("out").len(), 2 * 4);
}
