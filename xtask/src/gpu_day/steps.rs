//! What is run, in order: first whether the numbers are right, then how fast they come.

use std::path::Path;

/// Which of the project's programs runs a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Clipseg,
    Tasks,
}

/// A command whose output is kept.
pub struct Step {
    /// Its file is called so.
    pub name: String,
    pub program: Program,
    pub arguments: Vec<String>,
}

impl Step {
    /// The command line, for people.
    pub fn line(&self) -> String {
        let program = match self.program {
            Program::Clipseg => "clipseg",
            Program::Tasks => "cargo xtask",
        };
        format!("{program} {}", self.arguments.join(" "))
    }
}

/// Ways to compute, with their arguments: all of them take --precision.
const F32: (&str, &[&str]) = ("f32", &["--precision", "f32"]);
const F16: (&str, &[&str]) = ("f16", &["--precision", "f16"]);
const MATRIX_UNITS: (&str, &[&str]) = ("matrix-units", &["--precision", "f16", "--matrix-units", "any"]);
/// How far tensors may be from transformers' when activations are in f16.
const F16_TOLERANCE: &[&str] = &["--tolerance", "2e-2"];

/// What decides which steps there are.
pub struct Machine<'a> {
    /// The adapter's name or number.
    pub adapter: &'a str,
    pub has_matrix_units: bool,
    /// One that runs on the processor takes seconds for what takes a GPU milliseconds.
    pub is_software: bool,
}

/// Every step; the large model's where there is one. What is not printed is written to `out`.
pub fn all(machine: &Machine<'_>, model: Option<&Path>, out: &Path) -> Vec<Step> {
    let &Machine { adapter, has_matrix_units, is_software } = machine;
    let [runs, few_runs] = if is_software { ["2", "1"] } else { ["20", "10"] };
    let mut steps = Vec::new();
    let mut add = |name: &str, program, parts: &[&[&str]]| {
        let arguments = parts.concat().into_iter().map(str::to_owned).collect();
        steps.push(Step { name: name.to_owned(), program, arguments });
    };
    let on = ["--adapter", adapter];
    let mut forms = vec![F32, F16];
    forms.extend(has_matrix_units.then_some(MATRIX_UNITS));

    add("devices", Program::Clipseg, &[&["devices", "--json"]]);
    // By the index or a name; `driver` is for people who have one adapter, and then all are checked.
    let one = if adapter == "driver" { &[][..] } else { &on[..] };
    add("check", Program::Clipseg, &[&["devices", "--check"], one]);
    add("verify", Program::Tasks, &[&["verify"], &on]);
    add("verify-workgroup", Program::Tasks, &[&["verify", "--workgroup"], &on]);
    add("verify-bounds-checked", Program::Tasks, &[&["verify", "--workgroup", "--checked"], &on]);
    for (name, form) in forms.iter().skip(1) {
        let verify = ["verify", "--workgroup"];
        add(&format!("verify-{name}"), Program::Tasks, &[&verify, &on, form, F16_TOLERANCE]);
    }
    for (name, form) in &forms {
        let verify = ["verify", "--workgroup", "--steps"];
        let tolerance = if *form == F32.1 { &[][..] } else { F16_TOLERANCE };
        add(&format!("steps-{name}"), Program::Tasks, &[&verify, &on, form, tolerance]);
    }
    // A page and its data, into the folder that is sent back.
    let report = out.to_string_lossy();
    let units = if has_matrix_units { &["--matrix-units", "any"][..] } else { &[] };
    add("kernels", Program::Clipseg, &[&["kernels", "--report", &report], &on, units]);
    let Some(model) = model.and_then(Path::to_str) else { return steps };
    add("verify-full", Program::Tasks, &[&["verify", "--full"], &on]);
    let with_model = ["--model", model];
    for (name, form) in &forms {
        add(
            &format!("roofline-{name}"),
            Program::Clipseg,
            &[&["bench", "--roofline", "--runs", "1"], &on, &with_model, form],
        );
    }
    for (name, form) in &forms {
        for prompts in ["1", "8", "32"] {
            let bench = ["bench", "--runs", runs, "--profile", "--prompts", prompts];
            add(&format!("bench-{name}-{prompts}"), Program::Clipseg, &[&bench, &with_model, &on, form]);
        }
    }
    for (name, form) in &forms {
        let bench = ["bench", "--runs", runs, "--tune-kernels"];
        add(&format!("tuned-{name}"), Program::Clipseg, &[&bench, &with_model, &on, form]);
    }
    for (name, growth) in
        [("batch-8", ["--batch", "8"]), ("threads-4", ["--threads", "4"]), ("side-704", ["--size", "704"])]
    {
        add(
            &format!("growth-{name}"),
            Program::Clipseg,
            &[&["bench", "--runs", few_runs], &growth, &with_model, &on],
        );
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_verified_before_it_is_timed() {
        let machine = Machine { adapter: "driver", has_matrix_units: true, is_software: false };
        let steps = all(&machine, Some(Path::new("target/full")), Path::new("out"));
        let place =
            |name: &str| steps.iter().position(|step| step.name == name).expect("a step of that name");
        for form in ["f32", "f16", "matrix-units"] {
            assert!(place(&format!("steps-{form}")) < place(&format!("bench-{form}-1")));
        }
        let mut names: Vec<_> = steps.iter().map(|step| &step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), steps.len(), "two steps would write one file");
    }

    #[test]
    fn nothing_is_run_that_is_not_there() {
        let machine = Machine { adapter: "0", has_matrix_units: false, is_software: false };
        let steps = all(&machine, None, Path::new("out"));
        let lines: Vec<_> = steps.iter().map(Step::line).collect();
        assert!(
            lines.iter().all(|line| !line.contains("matrix-units") && !line.contains("--model")),
            "{lines:?}"
        );
    }
}
