//! `encode-prompts`, and `segment --conditions`.

use std::fs;

use crate::support::{Workspace, clipseg, fixture, refuse, reports, succeed};

const TINY: [&str; 4] = ["-p", "a cat", "-p", "a dot=dots"];

/// A tiny checkpoint with `prompts.safetensors` beside it.
fn with_file() -> Workspace {
    let workspace = Workspace::tiny();
    let [model, file] = ["model", "prompts.safetensors"].map(|name| workspace.argument(name));
    let text = succeed(&[&["encode-prompts", "--model", &model, "--out", &file][..], &TINY].concat());
    assert!(text.starts_with(&format!("wrote {file}: 2 prompts, ")), "{text}");
    workspace
}

fn segment(workspace: &Workspace, file: &str) -> Vec<String> {
    let [model, file, out] = ["model", file, "out"].map(|name| workspace.argument(name));
    let photo = fixture("photos/chelsea.png").to_str().unwrap().to_owned();
    ["segment", "--model", &model, &photo, "--conditions", &file, "--out", &out, "--save", "npy"]
        .map(str::to_owned)
        .to_vec()
}

fn refuse_file(workspace: &Workspace, file: &str, words: &[&str]) {
    let arguments = segment(workspace, file);
    refuse(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), words);
}

#[test]
fn kept_prompts_find_what_prompts_find() {
    let workspace = with_file();
    let arguments = segment(&workspace, "prompts.safetensors");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(["--json"]).collect();
    let [report] = reports(&succeed(&arguments)).try_into().unwrap();
    let names: Vec<_> =
        report["prompts"].as_array().unwrap().iter().map(|prompt| &prompt["prompt"]).collect();
    assert_eq!(names, ["a cat", "dots"]);
    assert_eq!(report["prompts"][1]["of"], serde_json::json!(["a dot"]));
    let kept = ["a-cat", "dots"]
        .map(|name| fs::read(workspace.path(&format!("out/chelsea-{name}-probability.npy"))).unwrap());
    fs::remove_dir_all(workspace.path("out")).unwrap();
    let mut arguments = segment(&workspace, "prompts.safetensors");
    arguments.drain(4..6);
    arguments.extend(TINY.map(str::to_owned));
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let fresh = ["a-cat", "dots"]
        .map(|name| fs::read(workspace.path(&format!("out/chelsea-{name}-probability.npy"))).unwrap());
    assert!(kept == fresh);
    // With negative prompts in words beside them.
    let mut arguments = segment(&workspace, "prompts.safetensors");
    arguments.extend(["--negative", "a cat"].map(str::to_owned));
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_kept_prompt_that_was_cut_says_so() {
    let workspace = Workspace::tiny();
    let [model, file] = ["model", "prompts.safetensors"].map(|name| workspace.argument(name));
    let long = format!("{}=long", "a cat ".repeat(200));
    let output = clipseg(&["encode-prompts", "--model", &model, "--out", &file, "-p", "a cat", "-p", &long]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("prompt 2 of 2 is longer"), "{stderr}");
    let arguments = segment(&workspace, "prompts.safetensors");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(["--json"]).collect();
    let [report] = reports(&succeed(&arguments)).try_into().unwrap();
    let cut: Vec<_> = report["prompts"].as_array().unwrap().iter().map(|prompt| &prompt["cut"]).collect();
    assert_eq!(cut, [false, true]);
}

#[test]
fn files_of_other_models_and_broken_files_are_refused() {
    let workspace = with_file();
    let good = fs::read(workspace.path("prompts.safetensors")).unwrap();
    let shapes = fixture("models/clipseg-shapes");
    let other = workspace.argument("other.safetensors");
    succeed(&["encode-prompts", "--model", shapes.to_str().unwrap(), "-p", "a circle", "--out", &other]);
    refuse_file(
        &workspace,
        "other.safetensors",
        &["other.safetensors", "64 numbers", "projection_dim", "encode-prompts"],
    );

    let edited = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let place = good.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
        let mut bytes = good.clone();
        bytes[place..place + from.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let mut not_a_number = good.clone();
    let end = not_a_number.len();
    not_a_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let lfs: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 1000\n";
    let model = fs::read(workspace.path("model/model.safetensors")).unwrap();
    for (bytes, words) in [
        (good[..good.len() - 4].to_vec(), &["whole safetensors file", "encode-prompts"][..]),
        (good[..20].to_vec(), &["whole safetensors file"]),
        (Vec::new(), &["whole safetensors file"]),
        (lfs.to_vec(), &["whole safetensors file"]),
        (model, &["holds no conditions", "encode-prompts"]),
        (edited("\\\"version\\\":1", "\\\"version\\\":2"), &["version 2", "newer"]),
        (edited("a cat", "\\\\nat"), &["control character"]),
        (edited("\\\"a cat\\\"", "        1"), &["metadata are malformed"]),
        (not_a_number, &["NaN", "a dot"]),
    ] {
        workspace.write("bad.safetensors", &bytes);
        refuse_file(&workspace, "bad.safetensors", &[words, &["--conditions", "bad.safetensors"]].concat());
    }
    refuse_file(&workspace, "gone.safetensors", &["--conditions", "gone.safetensors", "cannot read"]);

    // Other weights of the same width, as of a model that was trained further.
    let mut weights = fs::read(workspace.path("model/model.safetensors")).unwrap();
    for byte in weights.iter_mut().rev().step_by(4).skip(1).step_by(7).take(20_000) {
        *byte ^= 0x10;
    }
    workspace.write("model/model.safetensors", &weights);
    refuse_file(&workspace, "prompts.safetensors", &["another model", "encode-prompts"]);
}

#[test]
fn what_is_to_be_kept_is_checked() {
    let workspace = Workspace::tiny();
    let [model, file] = ["model", "prompts.safetensors"].map(|name| workspace.argument(name));
    let encode = ["encode-prompts", "--model", &model, "--out", &file];
    refuse(&[&encode[..], &["-p", "a cat", "-p", " "]].concat(), &["prompt 2 of 2 is empty"]);
    refuse(&[&encode[..], &["-p", "a cat="]].concat(), &["tabby=cat"]);
    refuse(&["encode-prompts", "--model", &model, "--out", &model, "-p", "a cat"], &["--out", "is a folder"]);
    assert!(!workspace.path("prompts.safetensors").exists());
}

/// What says how prompts in words or pictures are read has no effect on those of a file.
#[test]
fn flags_of_other_prompts_are_refused_beside_conditions() {
    let workspace = with_file();
    for more in [
        &["-p", "a cat"][..],
        &["--prompt-image", "cat.png"],
        &["--prompt-mask", "cat.png"],
        &["--prompt-style", "crop"],
        &["--mix", "0.5"],
        &["--template", "a {}."],
        &["--template-set", "plain"],
    ] {
        let arguments = segment(&workspace, "prompts.safetensors");
        let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let output = clipseg(&arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {stderr}");
        assert!(stderr.contains("cannot be used with"), "{more:?}: {stderr}");
    }
}
