//! Runs that downloaded the model and are asked to stop.

#![cfg(unix)]

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Tiny;

/// What is counted is the work, not the bytes that came before it.
#[test]
fn a_run_that_is_asked_to_stop_after_its_download_counts_photos() {
    let tiny = Tiny::new();
    for number in 0..400 {
        tiny.workspace.photo(&format!("photos/{number}.png"));
    }
    let [photos, out] = ["photos", "out"].map(|name| tiny.workspace.argument(name));
    let arguments =
        ["segment", "--model", "tiny/model", &photos, "-p", "a cat", "--save", "mask", "--out", &out];
    let mut command = tiny.command(&arguments);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while fs::read_dir(&out).map_or(0, Iterator::count) == 0 {
        assert!(start.elapsed() < Duration::from_secs(120), "nothing was written");
        sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.starts_with("stopped after ") && stderr.ends_with(" of 400 photos\n"), "{stderr}");
}
