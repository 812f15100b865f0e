//! `convert`, as users see it; what it converts is tested in its own crate.

use crate::support::{Workspace, clipseg, fixture, refuse};

#[test]
fn a_folder_of_the_hub_with_a_tokenizer() {
    let workspace = Workspace::empty();
    let [source, tokenizer] =
        ["convert/hub", "clip-tokenizer"].map(|name| fixture(name).to_str().unwrap().to_owned());
    let out = workspace.argument("out");
    let output = clipseg(&["convert", &source, "--tokenizer", &tokenizer, "--dtype", "f16", "--out", &out]);
    assert!(output.status.success());
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(
        stderr.starts_with("warning: there was no preprocessor_config.json") && stderr.lines().count() == 1,
        "{stderr}"
    );
    let [weights, vocabulary] =
        ["model.safetensors", "vocab.json"].map(|name| workspace.path("out").join(name));
    for word in [weights.to_str().unwrap(), vocabulary.to_str().unwrap(), "tensors"] {
        assert!(stdout.contains(word), "{word} is not in: {stdout}");
    }
    refuse(&["convert", &source, "--out", &out], &["--out", "already"]);
    // The tokenizer of another model would become this one's.
    std::fs::create_dir(workspace.path("other")).unwrap();
    workspace.write("other/tokenizer.json", b"{}");
    let other = workspace.argument("other");
    refuse(&["convert", &source, "--out", &other], &["--out", "tokenizer.json", "already"]);
}

#[test]
fn an_original_without_a_tokenizer_is_converted_and_says_what_is_missing() {
    let workspace = Workspace::empty();
    let [source, clip] = ["convert/published/rd16-uni.pth", "convert/published/ViT-B-16.pt"]
        .map(|name| fixture(name).to_str().unwrap().to_owned());
    let out = workspace.argument("out");
    refuse(&["convert", &source, "--out", &out], &["rd16-uni.pth", "--clip"]);
    assert!(!workspace.path("out").exists());
    let output = clipseg(&["convert", &source, "--clip", &clip, "--out", &out]);
    assert!(output.status.success());
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(
        stdout.contains("left out, as the model has no such tensors: reduce.bias, reduce.weight"),
        "{stdout}"
    );
    for words in [
        "taken as published, since tensors do not tell: extract_layers [3, 6, 9], conditional_layer 0",
        "experiments/*.yaml has extract_layers [3, 7, 9]",
        "by --config",
    ] {
        assert!(stdout.contains(words), "{words} is not in: {stdout}");
    }
    assert!(stderr.contains("no tokenizer") && stderr.contains("vocab.json"), "{stderr}");
    assert_eq!(workspace.files("out"), ["config.json", "model.safetensors", "preprocessor_config.json"]);
}
