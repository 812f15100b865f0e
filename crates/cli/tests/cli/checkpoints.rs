//! Checkpoints as people have them: saved by a newer transformers, with tokens added, or not what they seem.

use std::fs;

#[cfg(not(feature = "hub"))]
use crate::support::refuse;
use crate::support::{Workspace, clipseg, fixture, succeed};

#[test]
fn what_a_failed_download_left_is_called_that() {
    let pointer =
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 603111940\n".as_slice();
    let page = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>".as_slice();
    for file in ["model.safetensors", "config.json", "preprocessor_config.json", "vocab.json", "merges.txt"] {
        for (bytes, words) in [
            (pointer, ["is a Git LFS pointer", "git lfs pull"]),
            (page, ["is a web page", "download the file again"]),
            (b"", ["is empty", "download it again"]),
        ] {
            let workspace = Workspace::tiny();
            workspace.write(&format!("model/{file}"), bytes);
            workspace.refuse_segment(&[], &[words.as_slice(), &[file]].concat());
        }
    }
}

#[test]
fn one_value_that_is_no_number_is_named_with_its_tensor() {
    let workspace = Workspace::tiny();
    let path = workspace.path("model/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let name = "clip.vision_model.pre_layrnorm.weight";
    let (header, tensors) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let start = 8 + header + tensors.info(name).unwrap().data_offsets.0;
    bytes[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    workspace.refuse_segment(&[], &["model.safetensors", name, "holds NaN at [0]", "download them again"]);
}

#[test]
fn numbers_beyond_f32_are_refused_by_file_and_field() {
    for (text, words) in [
        (r#"{"image_mean": 1e308}"#, "image_mean = [1e308, 1e308, 1e308]"),
        (r#"{"image_std": 1e-320}"#, "image_std = "),
        (r#"{"rescale_factor": 1e300}"#, "rescale_factor = 1e300"),
    ] {
        let workspace = Workspace::tiny();
        workspace.write("model/preprocessor_config.json", text.as_bytes());
        workspace.refuse_segment(&[], &["preprocessor_config.json: ", words]);
    }
}

#[test]
fn the_processor_config_of_transformers_5_alone_will_do() {
    let workspace = Workspace::tiny();
    fs::remove_file(workspace.path("model/preprocessor_config.json")).unwrap();
    workspace.refuse_segment(&[], &["preprocessor_config.json is missing", "processor_config.json"]);
    let settings = br#"{"image_processor": {"size": {"height": 48, "width": 48}, "do_center_crop": null,
        "image_mean": null}, "processor_class": "CLIPSegProcessor"}"#;
    workspace.write("model/processor_config.json", settings);
    let arguments = workspace.segment();
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_condition_that_is_not_used_is_warned_of() {
    let workspace = Workspace::tiny();
    workspace.edit("model/config.json", r#""conditional_layer": 0"#, r#""conditional_layer": -1"#);
    let arguments = workspace.segment();
    let output = clipseg(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.starts_with("warning: ") && stderr.contains("conditional_layer = -1"), "{stderr}");
}

/// Tokens that the tokenizer's files add are looked for before a prompt is cut into words.
#[test]
fn added_tokens_are_found() {
    let workspace = Workspace::empty();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(fixture("clip-tokenizer").join(name), workspace.path("model").join(name)).unwrap();
    }
    let model = workspace.argument("model");
    let tokenize = |text: &str| succeed(&["tokenize", "--model", &model, text]);
    assert!(tokenize("the green star!!").contains("748"));
    workspace.write("model/special_tokens_map.json", br#"{"pad_token": "!"}"#);
    let ids = tokenize("the green star!!");
    assert!(ids.contains("0 0") && !ids.contains("748"), "{ids}");
    workspace.write("model/added_tokens.json", br#"{"<my-star>": 49408}"#);
    assert!(tokenize("a <my-star>").contains("49408"));
}

/// The token's id is beyond the rows of the model's embedding.
#[test]
fn an_added_token_without_an_embedding_is_refused_by_name() {
    let workspace = Workspace::tiny();
    workspace.write("model/added_tokens.json", br#"{"<my-star>": 600}"#);
    workspace.refuse_segment(&[], &["config.json", "\"<my-star>\"", "the id 600", "resize_token_embeddings"]);
}

#[test]
fn a_conversion_says_what_it_took_off() {
    let workspace = Workspace::empty();
    let source = fixture("convert/wrapped").to_str().unwrap().to_owned();
    let output = clipseg(&["convert", &source, "--out", &workspace.argument("out")]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    assert!(
        stdout.contains("taken out of the tensors' names") && stdout.contains("_orig_mod., module."),
        "{stdout}"
    );
}

/// Of `cargo test --package clipseg-cli --no-default-features`.
#[cfg(not(feature = "hub"))]
#[test]
fn a_repository_needs_a_feature() {
    let workspace = Workspace::empty();
    let out = workspace.argument("out");
    let words = ["without the feature `hub`", "give a folder", "cargo install"];
    for (given, named) in [("CIDAS/x", "CIDAS/x"), ("https://me:secret@huggingface.co/CIDAS/x", "an address")]
    {
        let segment = ["segment", "--model", given, "photo.png", "-p", "a cat", "--out", &out];
        refuse(&segment, &[&[named], &words[..]].concat());
        refuse(&["convert", given, "--out", &out], &[&[named], &words[..]].concat());
    }
    assert!(!workspace.path("out").exists());
}
