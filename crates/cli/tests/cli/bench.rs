//! `bench`.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{Workspace, refuse, succeed};

#[test]
fn every_step_is_measured() {
    let workspace = Workspace::tiny();
    // The bench's own prompts have more letters than the tests' tokenizer; letters that it does not know
    // become the end token.
    let arguments = ["bench", "--model", &workspace.argument("model"), "--prompts", "3", "--runs", "2"];
    let report: Value =
        serde_json::from_str(&succeed(&[arguments.as_slice(), &["--json"]].concat())).unwrap();
    assert_eq!((&report["prompts"], &report["runs"]), (&3.into(), &2.into()));
    let seconds = |name: &str| report[name].as_f64().unwrap();
    assert!(0.0 < seconds("load_seconds") && seconds("load_seconds") < seconds("first_mask_seconds"));
    // Every weight is there, most of them padded.
    let numbers = fs::metadata(workspace.path("model").join("model.safetensors")).unwrap().len();
    assert!(report["weight_bytes"].as_u64().unwrap() >= numbers / 2, "{report}");
    assert!(report["arena_bytes"].as_u64().unwrap() > 0, "{report}");
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
fn kernels_are_held_against_what_the_adapter_reaches() {
    let workspace = Workspace::tiny();
    let model = workspace.argument("model");
    let arguments = ["bench", "--model", &model, "--runs", "1", "--roofline", "--adapter", "driver"];
    let report: Value =
        serde_json::from_str(&succeed(&[&arguments[..], &["--workgroup", "--json"]].concat())).unwrap();
    assert!(report["ceilings"]["f32_flops"].as_f64().unwrap() > 1e7, "{report}");
    assert_eq!(report["kernels"], "workgroup");
    for kernel in report["kernel_times"].as_array().unwrap() {
        let least = kernel["least_seconds"].as_f64().unwrap();
        assert!(least > 0.0 && least.is_finite(), "{kernel}");
    }
    let text = succeed(&arguments);
    assert!(text.contains("f32 arithmetic") && text.contains("of the ceiling"), "{text}");
    // The processor's ceilings are not measured.
    refuse(
        &["bench", "--model", &model, "--runs", "1", "--roofline", "--adapter", "cpu"],
        &["name an adapter"],
    );
}

#[test]
fn threads_and_batches_are_counted() {
    let workspace = Workspace::tiny();
    let model = workspace.argument("model");
    let report = |more: &[&str]| -> Value {
        let arguments = [&["bench", "--model", &model, "--runs", "1", "--profile", "--json"], more].concat();
        serde_json::from_str(&succeed(&arguments)).unwrap()
    };
    let flops = |report: &Value| -> u64 {
        report["kernel_times"]
            .as_array()
            .unwrap()
            .iter()
            .map(|kernel| kernel["flops"].as_u64().unwrap())
            .sum()
    };
    let one = report(&[]);
    let batch = report(&["--batch", "2", "--threads", "2"]);
    assert_eq!((&batch["batch"], &batch["threads"], &batch["prompts"]), (&2.into(), &2.into(), &2.into()));
    assert!(batch["photos_per_second"].as_f64().unwrap() > 0.0);
    assert!(2 * flops(&one) * 9 / 10 < flops(&batch), "{one} {batch}");
    assert!(batch["arena_bytes"].as_u64() > one["arena_bytes"].as_u64());
    let larger = report(&["--size", "64"]);
    assert!(flops(&larger) != flops(&one), "{larger}");
    refuse(&["bench", "--model", &model, "--size", "0"], &["--size", "height = 0"]);
    // To run out of memory would end the program.
    for many in [["--batch", "65535"], ["--size", "8192"]] {
        let arguments = [&["bench", "--model", &model, "--threads", "100"], &many[..]].concat();
        refuse(&arguments, &["--batch", "--threads 100", "GB", "smaller --size"]);
    }
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
    for kernel in kernels {
        let [flops, bytes] =
            ["flops_per_second", "bytes_per_second"].map(|name| kernel[name].as_f64().unwrap());
        assert!(flops >= 0.0 && bytes > 0.0, "{kernel}");
    }
    assert!(succeed(&arguments).contains("GFLOP/s"));
}

#[test]
fn tuned_kernels_and_pipelines_are_remembered_in_the_cache_folder() {
    let workspace = Workspace::tiny();
    // The processor has no kernels to choose from.
    let adapters: Value = serde_json::from_str(&succeed(&["devices", "--json"])).unwrap();
    let adapter = adapters.as_array().unwrap().iter().find(|adapter| adapter["kind"] != "processor");
    let adapter = adapter.expect("this test needs an adapter");
    let bench = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clipseg"));
        command.args(["bench", "--model", &workspace.argument("model"), "--runs", "1", "--tune-kernels"]);
        command.args(["--adapter", &adapter["index"].to_string()]);
        let output = command.env("XDG_CACHE_HOME", workspace.path("caches")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let files = fs::read_dir(workspace.path("caches/clipseg")).unwrap();
        // There may also be a folder with the driver's own shaders.
        let files: Vec<_> = files.map(|file| file.unwrap().path()).filter(|path| path.is_file()).collect();
        let content = |ending: &str| {
            let mut named = files.iter().filter(|file| file.extension().is_some_and(|own| own == ending));
            let content = named.next().map(|file| fs::read(file).unwrap());
            assert!(named.next().is_none(), "{files:?}");
            content
        };
        let notes = serde_json::from_slice::<Value>(&content("json").unwrap()).unwrap();
        let pipelines = content("pipelines");
        assert_eq!(files.len(), 1 + usize::from(pipelines.is_some()), "{files:?}");
        (notes, pipelines)
    };
    let (notes, pipelines) = bench();
    assert!(!notes["choices"].as_object().unwrap().is_empty(), "{notes}");
    assert_eq!(adapter["pipeline_cache"], pipelines.is_some());
    assert_eq!(bench(), (notes, pipelines));
}
