//! Which photos `segment` takes, and what it tells of each.

use std::fs;

use serde_json::Value;

use crate::support::{Workspace, clipseg, fail, fixture, refuse, reports, succeed};

fn with<'a>(arguments: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

/// A workspace with `photos/`, in which there are a cat, its mirror image under the same name and a file that
/// is not a photo.
fn with_photos() -> Workspace {
    let workspace = Workspace::tiny();
    workspace.photo("photos/cat.png");
    let mirrored = image::open(fixture("photos/chelsea.png")).unwrap().fliph();
    mirrored.save(workspace.path("photos/cat.bmp")).unwrap();
    workspace.write("photos/notes.txt", b"not taken");
    workspace
}

#[test]
fn the_photos_of_a_folder_equal_single_ones() {
    let workspace = with_photos();
    let [model, photos, out] = ["model", "photos", "out"].map(|name| workspace.argument(name));
    let coffee = fixture("photos/coffee.jpg").to_str().unwrap().to_owned();
    let more = ["-p", "a cat", "--save", "npy", "--out", &out, "--json"];
    let reports = reports(&succeed(&[&["segment", "--model", &model, &photos, &coffee][..], &more].concat()));
    let read: Vec<_> = reports.iter().map(|report| report["photo"].as_str().unwrap()).collect();
    assert_eq!(read, [&workspace.argument("photos/cat.bmp"), &workspace.argument("photos/cat.png"), &coffee]);
    let names = ["cat-2-a-cat-probability.npy", "cat-a-cat-probability.npy", "coffee-a-cat-probability.npy"];
    assert_eq!(workspace.files("out"), names);
    for (report, name) in reports.iter().zip([names[1], names[0], names[2]]) {
        assert!(report["prompts"][0]["files"]["npy"].as_str().unwrap().ends_with(name), "{report}");
        let together = fs::read(workspace.path("out").join(name)).unwrap();
        let alone = workspace.argument("alone");
        let photo = report["photo"].as_str().unwrap();
        let arguments =
            ["segment", "--model", &model, photo, "-p", "a cat", "--save", "npy", "--out", &alone];
        succeed(&arguments);
        let [file] = workspace.files("alone").try_into().unwrap();
        assert!(together == fs::read(workspace.path("alone").join(&file)).unwrap(), "{photo}");
        fs::remove_dir_all(workspace.path("alone")).unwrap();
    }
}

#[test]
fn a_photo_that_cannot_be_read_keeps_no_other_from_being_segmented() {
    let workspace = with_photos();
    workspace.write("photos/broken.jpg", b"not a picture");
    workspace.write("photos/alas.PNG", b"neither");
    let arguments = workspace.masks(&["photos", "gone.png"], "out");
    let (stdout, stderr) = fail(&with(&arguments, &[]));
    for part in ["alas.PNG", "broken.jpg", "gone.png", "3 of 5 photos could not be segmented"] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    for part in ["cat.bmp\nprompt", "cat.png\nprompt", "wrote "] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    assert_eq!(workspace.files("out"), ["cat-2-a-cat-mask.png", "cat-a-cat-mask.png"]);

    // A line per photo, in their order.
    let (stdout, stderr) = fail(&with(&arguments, &["--json"]));
    let reports = reports(&stdout);
    let names = ["photos/alas.PNG", "photos/broken.jpg", "photos/cat.bmp", "photos/cat.png", "gone.png"];
    assert_eq!(reports.len(), names.len());
    for (report, name) in reports.iter().zip(names) {
        assert_eq!(report["photo"], workspace.argument(name));
        assert_eq!(report.get("error").is_some(), !name.contains("cat"), "{report}");
        if let Some(error) = report.get("error") {
            assert!(stderr.contains(error.as_str().unwrap()), "{error} in {stderr}");
        }
    }
}

#[test]
fn a_single_photo_that_cannot_be_read_is_a_line_of_json_too() {
    let workspace = Workspace::tiny();
    workspace.write("broken.jpg", b"not a picture");
    let (stdout, stderr) = fail(&with(&workspace.masks(&["broken.jpg"], "out"), &["--json"]));
    let [report] = reports(&stdout).try_into().unwrap();
    assert_eq!(report["photo"], workspace.argument("broken.jpg"));
    assert_eq!(stderr, format!("error: {}\n", report["error"].as_str().unwrap()));
    assert!(!workspace.path("out").exists());
}

#[test]
fn several_photos_have_no_single_file_of_logits_and_an_empty_folder_has_none() {
    let workspace = with_photos();
    let [model, photos, logits] =
        ["model", "photos", "logits.safetensors"].map(|name| workspace.argument(name));
    let arguments = ["segment", "--model", &model, &photos, "-p", "a cat", "--logits", &logits];
    refuse(&arguments, &["--logits", "2 are given", "--save npy"]);
    fs::create_dir(workspace.path("empty")).unwrap();
    let empty = workspace.masks(&["empty"], "out");
    refuse(&with(&empty, &[]), &["empty", "no photo", ".webp", "--recursive"]);
    workspace.write("empty/IMG.HEIC", b"a photo of another kind");
    refuse(&with(&empty, &[]), &["no photo", "(.heic)", "convert"]);
}

#[test]
fn hidden_files_are_left_out_and_all_endings_of_jpeg_are_taken() {
    let workspace = Workspace::tiny();
    let jpeg = fs::read(fixture("photos/coffee.jpg")).unwrap();
    workspace.photo("photos/a.png");
    for name in ["b.jfif", "c.JPE", "d.jif"] {
        workspace.write(&format!("photos/{name}"), &jpeg);
    }
    // What macOS leaves beside a file, and a hidden photo.
    workspace.write("photos/._a.png", b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ");
    workspace.write("photos/.DS_Store", b"\0\0\0\x01Bud1");
    workspace.photo("photos/.hidden/e.png");
    workspace.photo("photos/.f.png");
    succeed(&with(&workspace.masks(&["photos"], "out"), &["--recursive"]));
    assert_eq!(workspace.files("out"), ["a", "b", "c", "d"].map(|name| format!("{name}-a-cat-mask.png")));
}

#[test]
fn photos_of_other_kinds_are_not_passed_over_in_silence() {
    let workspace = Workspace::tiny();
    workspace.photo("photos/a.png");
    workspace.write("photos/b.heic", b"");
    workspace.write("photos/c.AVIF", b"");
    let output = clipseg(&with(&workspace.masks(&["photos"], "out"), &[]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.starts_with("warning: ") && stderr.contains("(.avif, .heic) are left out: 2;"),
        "{stderr}"
    );
}

#[test]
fn folders_within_folders_are_taken_on_request_and_keep_their_tree() {
    let workspace = Workspace::tiny();
    for name in ["photos/cat.png", "photos/a/cat.png", "photos/a/b/cat.png", "more/a/cat.png"] {
        workspace.photo(name);
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(workspace.path("photos"), workspace.path("photos/a/loop")).unwrap();
    succeed(&with(&workspace.masks(&["photos"], "flat"), &[]));
    assert_eq!(workspace.tree("flat"), ["cat-a-cat-mask.png"]);
    let stdout = succeed(&with(&workspace.masks(&["photos", "more"], "out"), &["--recursive", "--json"]));
    let names =
        ["a/b/cat-a-cat-mask.png", "a/cat-2-a-cat-mask.png", "a/cat-a-cat-mask.png", "cat-a-cat-mask.png"];
    assert_eq!(workspace.tree("out"), names);
    let files = reports(&stdout);
    let files: Vec<_> = files.iter().map(|report| &report["prompts"][0]["files"]["mask"]).collect();
    let expected = [names[0], names[2], names[3], names[1]].map(|name| workspace.argument("out/") + name);
    assert_eq!(files.len(), 4);
    assert!(expected.iter().all(|name| files.contains(&&Value::from(name.as_str()))), "{files:?}");
}

#[test]
fn a_report_that_cannot_be_printed_is_an_error() {
    let workspace = with_photos();
    let arguments = workspace.masks(&["photos"], "out");
    let run = |stdout: fs::File| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_clipseg"));
        command.args(&arguments).arg("--json").stdout(stdout).output().unwrap()
    };
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let output = run(full);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("error: cannot write to stdout"), "{stderr}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_not_passed_over_in_silence() {
    let workspace = with_photos();
    for (link, target) in
        [("gone.png", "a disk that is not mounted"), ("notes", "gone"), ("loop.jpg", "loop.jpg")]
    {
        std::os::unix::fs::symlink(target, workspace.path("photos").join(link)).unwrap();
    }
    let (stdout, stderr) = fail(&with(&workspace.masks(&["photos"], "out"), &["--json"]));
    for part in ["photos/gone.png", "photos/loop.jpg", "2 of 4 photos could not be segmented"] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    assert_eq!(reports(&stdout).len(), 4);
    assert_eq!(workspace.files("out").len(), 2);
}

#[test]
fn a_folder_without_photos_keeps_no_other_from_being_segmented() {
    let workspace = with_photos();
    fs::create_dir(workspace.path("empty")).unwrap();
    let (stdout, stderr) = fail(&with(&workspace.masks(&["empty", "photos"], "out"), &["--json"]));
    assert!(stderr.contains("empty: there is no photo in this folder"), "{stderr}");
    assert!(stderr.contains("1 of 3 photos could not be segmented"), "{stderr}");
    assert_eq!((reports(&stdout).len(), workspace.files("out").len()), (3, 2));
    // A folder of results, alone and beside others.
    refuse(
        &workspace.masks(&["out"], "again").iter().map(String::as_str).collect::<Vec<_>>(),
        &["out: there is no photo", "clipseg wrote, which are not photos: 2"],
    );
    let (_, stderr) = fail(&with(&workspace.masks(&["out", "empty"], "again"), &[]));
    assert!(stderr.contains("not photos: 2") && stderr.contains("2 of 2 photos could not"), "{stderr}");
    assert!(!workspace.path("again").exists());
}

/// What the engine refuses says of which photo, as it knows no files.
#[test]
fn what_fails_after_reading_names_the_photo() {
    let workspace = with_photos();
    workspace.write("model/preprocessor_config.json", br#"{"size": {"height": 8, "width": 8}}"#);
    let named = |name: &str| format!("error: {}: pixel_values: 8 by 8 pixels", workspace.argument(name));
    let (_, stderr) = fail(&with(&workspace.masks(&["photos/cat.png"], "out"), &[]));
    assert!(stderr.starts_with(&named("photos/cat.png")), "{stderr}");
    let (_, stderr) = fail(&with(&workspace.masks(&["photos"], "out"), &[]));
    assert!(
        ["photos/cat.bmp", "photos/cat.png"].iter().all(|name| stderr.contains(&named(name))),
        "{stderr}"
    );
}
