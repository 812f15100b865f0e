//! `--memory`.

use crate::support::{Workspace, clipseg, refuse, succeed, tensor};

/// The logits of many prompts, by a run that has nothing to warn of.
fn logits(workspace: &Workspace, more: &[&str]) -> Vec<f32> {
    let file = workspace.argument("logits.safetensors");
    let mut arguments = workspace.segment();
    let words = ["a", "b", "c", "d", "e", "o", "r", "beet", "root", "a beet", "a root"];
    arguments.extend(words.into_iter().flat_map(|word| ["-p", word]).map(str::to_owned));
    arguments.extend(["--logits", &file].map(str::to_owned));
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tensor(file.as_ref(), "logits").1
}

#[test]
fn prompts_are_cut_to_fit_the_budget() {
    let workspace = Workspace::tiny();
    let whole = logits(&workspace, &[]);
    for budget in ["3MB", "100GB"] {
        let parts = logits(&workspace, &["--memory", budget]);
        let largest = whole.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
        let is_close = |(one, other): (&f32, &f32)| (one - other).abs() <= 1e-4 * largest;
        assert!(whole.len() == parts.len() && whole.iter().zip(&parts).all(is_close), "{budget}");
    }
}

#[test]
fn what_does_not_fit_at_all_is_refused() {
    let workspace = Workspace::tiny();
    let arguments = workspace.segment();
    let with = |budget: &str, words: &[&str]| {
        let mut all: Vec<_> = arguments.iter().map(String::as_str).collect();
        all.extend(["--memory", budget]);
        refuse(&all, words);
    };
    with("100KB", &["0.1 MB", "at least", "--memory"]);
}

#[test]
fn a_size_has_a_unit() {
    let workspace = Workspace::tiny();
    let mut arguments = workspace.segment();
    arguments.extend(["--memory", "512"].map(str::to_owned));
    let output = clipseg(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("512MB"));
}
