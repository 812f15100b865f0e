//! `bench`.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{Workspace, succeed};

#[test]
fn every_step_is_measured() {
    let workspace = Workspace::tiny();
    // The bench's own prompts have more letters than the tests' tokenizer; what it does not know becomes the
    // end token.
    let arguments = ["bench", "--model", &workspace.argument("model"), "--prompts", "3", "--runs", "2"];
    let report: Value =
        serde_json::from_str(&succeed(&[arguments.as_slice(), &["--json"]].concat())).unwrap();
    assert_eq!((&report["prompts"], &report["runs"]), (&3.into(), &2.into()));
    let seconds = |name: &str| report[name].as_f64().unwrap();
    assert!(0.0 < seconds("load_seconds") && seconds("load_seconds") < seconds("first_mask_seconds"));
    let steps = report["warm"].as_array().unwrap();
    let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["preprocessing", "image encoding", "text encoding", "decoding", "all together"]);
    for step in steps {
        let [min, median, max] =
            ["min_seconds", "median_seconds", "max_seconds"].map(|name| step[name].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{step}");
    }
    let text = succeed(&arguments);
    assert!(text.contains("first mask") && text.contains("all together"), "{text}");
}

#[test]
fn a_profile_names_the_kernels_that_ran() {
    let workspace = Workspace::tiny();
    let arguments = ["bench", "--model", &workspace.argument("model"), "--runs", "1", "--profile"];
    let report: Value =
        serde_json::from_str(&succeed(&[arguments.as_slice(), &["--json"]].concat())).unwrap();
    let kernels = report["kernel_times"].as_array().unwrap();
    let share: f64 = kernels.iter().map(|kernel| kernel["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");
    let names: Vec<_> = kernels.iter().map(|kernel| kernel["kernel"].as_str().unwrap()).collect();
    for part in ["attention", "matmul", "film", "token_embedding"] {
        assert!(names.iter().any(|name| name.starts_with(part)), "{part} is not in {names:?}");
    }
    let seconds: Vec<_> = kernels.iter().map(|kernel| kernel["seconds"].as_f64().unwrap()).collect();
    assert!(seconds.is_sorted_by(|a, b| a >= b), "{seconds:?}");
    assert!(succeed(&arguments).contains("share"));
}

#[test]
fn tuned_kernels_are_remembered_in_the_cache_folder() {
    let workspace = Workspace::tiny();
    let bench = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clipseg"));
        command.args(["bench", "--model", &workspace.argument("model"), "--runs", "1", "--tune-kernels"]);
        let output = command.env("XDG_CACHE_HOME", workspace.path("caches")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let files = fs::read_dir(workspace.path("caches/clipseg")).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        let [file] = &files[..] else { panic!("{files:?}") };
        serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap()
    };
    let notes = bench();
    assert!(!notes["choices"].as_object().unwrap().is_empty(), "{notes}");
    assert_eq!(bench(), notes);
}
