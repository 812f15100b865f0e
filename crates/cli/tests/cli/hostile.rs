//! Files that are not files, and texts that are not names.

use crate::support::{Workspace, clipseg, fixture, refuse};

/// A named pipe that nobody writes to, in place of a file, is refused by its name instead of being waited
/// for.
#[test]
#[cfg(unix)]
fn pipes_and_devices_in_place_of_files_are_refused_by_name() {
    for name in
        ["config.json", "model.safetensors", "preprocessor_config.json", "vocab.json", "tokenizer.json"]
    {
        let workspace = Workspace::tiny();
        let _ = std::fs::remove_file(workspace.path("model").join(name));
        pipe(&workspace, &format!("model/{name}"));
        workspace.photo("cat.png");
        let arguments = workspace.masks(&["cat.png"], "out");
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        refuse(&arguments, &[name, "a named pipe, not a regular file"]);
    }
    let workspace = Workspace::tiny();
    pipe(&workspace, "cat.png");
    let model = workspace.argument("model");
    let (photo, out) = (workspace.argument("cat.png"), workspace.argument("out"));
    refuse(
        &["segment", "--model", &model, &photo, "-p", "a cat", "--out", &out],
        &["cat.png", "a named pipe, not a regular file"],
    );
    let cat = fixture("photos/chelsea.png");
    let cat = cat.to_str().unwrap();
    refuse(
        &["segment", "--model", &model, cat, "--conditions", &photo, "--out", &out],
        &["cat.png", "a named pipe"],
    );
    refuse(&["preprocess", "--model", &model, "/dev/zero", "--out", &photo], &["/dev/zero", "a device"]);
    refuse(&["convert", &photo, "--out", &out], &["cat.png", "a named pipe"]);

    std::fs::create_dir_all(workspace.path("data/images")).unwrap();
    pipe(&workspace, "data/images/pipe.png");
    workspace.write("data/prompts.jsonl", br#"{"image": "pipe.png", "text": "a cat", "mask": null}"#);
    let data = workspace.argument("data");
    refuse(
        &["eval", "--model", &model, "--data", &data],
        &["line 1", "pipe.png", "a named pipe, not a regular file"],
    );
}

#[cfg(unix)]
fn pipe(workspace: &Workspace, name: &str) {
    assert!(std::process::Command::new("mkfifo").arg(workspace.path(name)).status().unwrap().success());
}

#[test]
fn a_command_to_the_terminal_in_a_pickle_is_shown_escaped() {
    let workspace = Workspace::empty();
    std::fs::copy(fixture("hostile/global-terminal-escape.pt"), workspace.path("escape.pt")).unwrap();
    let output = clipseg(&["convert", &workspace.argument("escape.pt"), "--out", &workspace.argument("out")]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: ") && stderr.contains("\\u{1b}"), "{stderr}");
    assert!(!stderr.contains('\u{1b}') && stderr.len() < 2_000, "{stderr}");
}

/// A prompt of 100 kB: cut for people, whole in JSON.
#[test]
fn a_prompt_without_end_does_not_end_the_run() {
    let workspace = Workspace::tiny();
    workspace.photo("cat.png");
    let prompt = "a cat ".repeat(17_000);
    let mut arguments = workspace.masks(&["cat.png"], "out");
    let place = arguments.iter().position(|argument| argument == "a cat").unwrap();
    arguments[place] = prompt.clone();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = clipseg(&arguments);
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.len() < 2_000 && stderr.len() < 2_000, "{stdout}{stderr}");
    let output = clipseg(&[&arguments[..], &["--json"]].concat());
    assert!(String::from_utf8(output.stdout).unwrap().contains(prompt.trim()));
}
