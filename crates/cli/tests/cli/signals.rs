//! Runs that are asked to stop, or killed: nothing half written is left behind.

#![cfg(unix)]

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Workspace, fixture, succeed};

/// A run over more photos than it will ever finish here.
fn start(workspace: &Workspace, out: &str, options: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_clipseg"))
        .args(workspace.masks(&["photos"], out))
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn many_photos() -> Workspace {
    let workspace = Workspace::tiny();
    for number in 0..400 {
        workspace.photo(&format!("photos/{number}.png"));
    }
    workspace
}

/// Files in a folder that may not be there yet: finished ones, and others.
fn files(folder: &Path) -> (usize, Vec<String>) {
    let names = fs::read_dir(folder).into_iter().flatten();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let (hidden, whole): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.starts_with('.'));
    (whole.len(), hidden)
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

fn wait_for_files(child: &mut Child, folder: &Path, count: usize) {
    let start = Instant::now();
    while files(folder).0 < count {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        assert!(start.elapsed() < Duration::from_secs(120), "nothing was written");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_that_is_asked_to_stop_says_how_far_it_came_and_leaves_nothing_half_written() {
    let workspace = many_photos();
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let out = format!("out{code}");
        let mut child = start(&workspace, &out, &[]);
        wait_for_files(&mut child, &workspace.path(&out), 3);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(stderr.starts_with("stopped after ") && stderr.ends_with(" of 400 photos\n"), "{stderr}");
        let done: usize = stderr.split(' ').nth(2).unwrap().parse().unwrap();
        let (whole, hidden) = files(&workspace.path(&out));
        assert!((2..400).contains(&done) && whole >= done, "{stderr}{whole}");
        assert_eq!(hidden, [""; 0]);
    }
}

/// Data sets are written from time to time, and all of it before the end.
#[test]
fn a_data_set_of_a_run_that_is_asked_to_stop_has_all_photos_so_far() {
    let workspace = many_photos();
    let mut child = start(&workspace, "out", &["--save", "coco,mask"]);
    // The data set's own, and the masks of three photos, of which two are reported.
    wait_for_files(&mut child, &workspace.path("out"), 4);
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let done: usize = stderr.split(' ').nth(2).unwrap().parse().unwrap();
    let file = fs::read(workspace.path("out/annotations.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let images = file["images"].as_array().unwrap().len();
    // The last photo may be in the data set and not yet reported.
    assert!((2..400).contains(&done) && (done..=done + 1).contains(&images), "{images}: {stderr}");
    assert!(stderr.ends_with(&format!("annotations.json has {images}\n")), "{images}: {stderr}");
    assert_eq!(files(&workspace.path("out")).1, [""; 0]);
}

/// The photos of an earlier run that are not done again yet are not lost.
#[test]
fn a_data_set_of_an_earlier_run_stays_until_all_its_photos_are_done_again() {
    let workspace = many_photos();
    let images: Vec<_> = (0..400).map(|number| format!("{{\"file_name\":\"{number}.png\"}}")).collect();
    let earlier = format!(
        "{{\"info\":{{\"description\":\"masks found by clipseg\",\"photos\":{:?}}},\"categories\":[{{\"id\":1,\"name\":\"a cat\"}}],\"images\":[{}],\"annotations\":[]}}\n",
        workspace.argument("photos"),
        images.join(",")
    );
    fs::create_dir(workspace.path("out")).unwrap();
    workspace.write("out/annotations.json", earlier.as_bytes());
    let mut child = start(&workspace, "out", &["--save", "coco,mask"]);
    wait_for_files(&mut child, &workspace.path("out"), 3);
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(fs::read_to_string(workspace.path("out/annotations.json")).unwrap() == earlier, "{stderr}");
    let partial = fs::read(workspace.path("out/annotations.partial.json")).unwrap();
    let partial: serde_json::Value = serde_json::from_slice(&partial).unwrap();
    let images = partial["images"].as_array().unwrap().len();
    let missing =
        format!("annotations.json stays as it was, as photos of it are still missing: {};", 400 - images);
    assert!(images > 0 && stderr.contains(&missing), "{images}: {stderr}");
    assert!(stderr.ends_with(&format!("annotations.partial.json has {images}\n")), "{images}: {stderr}");
}

/// The next run removes the files that a killed run has left, but not those of a run that is at work.
#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let workspace = many_photos();
    let mut child = start(&workspace, "out", &[]);
    wait_for_files(&mut child, &workspace.path("out"), 3);
    // Another run at work in the same folder: its files are locked.
    let busy = workspace.path("out/.clipseg-busy");
    fs::write(&busy, "").unwrap();
    let lock = fs::File::open(&busy).unwrap();
    lock.lock().unwrap();
    signal(&child, "-KILL");
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    workspace.write("out/.clipseg-left", b"half");
    let photo = fixture("photos/chelsea.png");
    let model = workspace.argument("model");
    let segment = |out: &str| {
        let photo = photo.to_str().unwrap();
        succeed(&["segment", "--model", &model, photo, "-p", "a cat", "--save", "mask", "--out", out]);
    };
    segment(&workspace.argument("out"));
    assert_eq!(files(&workspace.path("out")).1, [".clipseg-busy"]);
    drop(lock);
    segment(&workspace.argument("out"));
    assert_eq!(files(&workspace.path("out")).1, [""; 0]);
}

/// The run is stopped before it has anything to count, while it waits for paths.
#[test]
fn a_run_that_waits_can_be_stopped() {
    let workspace = Workspace::tiny();
    let arguments = workspace.masks(&["x"], "out");
    let photo = workspace.argument("x");
    let arguments = arguments.iter().map(|argument| if *argument == photo { "-" } else { argument });
    let mut child = Command::new(env!("CARGO_BIN_EXE_clipseg"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Keep stdin open until the end: `wait` would close it, and the run might see the end of its input before
    // the signal.
    let stdin = child.stdin.take();
    sleep(Duration::from_secs(1));
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    drop(stdin);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "stopped before anything was done\n");
    assert!(!workspace.path("out").exists());
}
