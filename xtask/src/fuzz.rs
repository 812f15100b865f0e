//! `cargo xtask fuzz`: feeds the code that reads files and answers with inputs that libFuzzer makes up.

mod findings;
mod log;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use self::log::Figures;
use crate::{markdown, root};

/// The most seconds that an input may take, and the most MB of resident memory. What a target allows itself
/// for the length of an input is less, and the target checks that.
const LIMITS: [&str; 2] = ["-timeout=20", "-rss_limit_mb=3072"];
/// The most bytes of an input. No seed is longer.
const LONGEST: &str = "-max_len=8192";

/// What `cargo xtask fuzz` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                           every target, a minute each
  cargo xtask fuzz photo pickle --seconds 600
  cargo xtask fuzz masks --runs 1000000      so many inputs, however long that takes
  cargo xtask fuzz photo --replay FILE       one input, to see what it does

Inputs that fail are made small and put into fuzz/findings/TARGET, named for what they do. Mend the fault and commit
them with it: from then on `cargo xtask test` replays them. What libFuzzer says is in target/fuzz/TARGET.log, and the inputs
that reach new code are kept in target/fuzz/corpus for the next run.

Needs cargo-fuzz (cargo install cargo-fuzz --locked), Linux or macOS, and a C++ compiler; no nightly toolchain.
Exits with 1 when there is a finding.")]
pub struct FuzzArguments {
    /// Targets, as fuzz/targets has them [default: all]
    targets: Vec<String>,
    /// How long each of them runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Inputs each of them is given, instead of a time
    #[arg(long, conflicts_with = "seconds")]
    runs: Option<u64>,
    /// Give one target this input alone
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seconds", "runs"])]
    replay: Option<PathBuf>,
}

/// Runs the targets one after the other; an error where there is a finding.
pub fn run(arguments: &FuzzArguments) -> Result<()> {
    let targets = chosen(&arguments.targets)?;
    ensure_cargo_fuzz()?;
    let programs = build()?;
    if let Some(input) = &arguments.replay {
        let [target] = &targets[..] else { bail!("--replay: name the one target that the input is for") };
        let status = Command::new(programs.join(target)).args(LIMITS).arg(input).status()?;
        ensure!(status.success(), "{target} fails on {}", input.display());
        return Ok(());
    }
    let end = match arguments.runs {
        Some(runs) => format!("-runs={runs}"),
        None => format!("-max_total_time={}", arguments.seconds),
    };
    let heading = ["target", "inputs", "seconds", "edges", "kept inputs", "MB at most", "findings"];
    let (mut rows, mut findings) = (Vec::new(), Vec::new());
    for target in &targets {
        let (figures, found) = Session::new(target, &programs)?.run(&end)?;
        rows.push(figures.row(target, found.len()));
        findings.extend(found);
    }
    println!("\n{}", markdown::table(&heading.map(str::to_owned), &rows));
    let list: Vec<_> = findings.iter().map(|path| format!("  {}", path.display())).collect();
    ensure!(findings.is_empty(), "these are to be mended, and committed with that:\n{}", list.join("\n"));
    Ok(())
}

/// The targets that were named, or all.
fn chosen(named: &[String]) -> Result<Vec<String>> {
    let folder = root().join("fuzz/targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut all = Vec::new();
    for entry in entries {
        all.extend(entry?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    all.sort();
    if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown:?}; there are {}", all.join(", "));
    }
    Ok(if named.is_empty() { all } else { named.to_vec() })
}

fn ensure_cargo_fuzz() -> Result<()> {
    let found = Command::new("cargo").args(["fuzz", "--version"]).output();
    ensure!(
        found.is_ok_and(|output| output.status.success()),
        "cargo-fuzz is not installed: run `cargo install cargo-fuzz --locked`, then this again"
    );
    Ok(())
}

/// Builds libFuzzer's programs, and gives the folder that they are in.
///
/// They are built without sanitizers: the code is safe Rust, and sanitizers need a nightly toolchain.
/// Coverage, which guides libFuzzer, and overflow checks do not. They are built without `cfg(fuzzing)` too,
/// with which some crates skip checksums, so that an input that fails here fails wherever it is replayed.
fn build() -> Result<PathBuf> {
    let folder = root().join("target/fuzz/build");
    println!("== building the targets");
    let status = Command::new("cargo")
        .args([
            "fuzz",
            "build",
            "--sanitizer",
            "none",
            "--no-cfg-fuzzing",
            "--fuzz-dir",
            "fuzz",
            "--target-dir",
        ])
        .arg(&folder)
        .current_dir(root())
        .status()
        .context("running cargo fuzz")?;
    ensure!(status.success(), "the targets cannot be built");
    Ok(folder.join(host()?).join("release"))
}

/// rustc's name for this machine.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("running rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what machine this is")
}

/// One target's run.
struct Session<'a> {
    target: &'a str,
    program: PathBuf,
    /// Where inputs that reach new code are kept.
    corpus: PathBuf,
    /// Where libFuzzer puts inputs that fail.
    failures: PathBuf,
    log: PathBuf,
}

impl<'a> Session<'a> {
    fn new(target: &'a str, programs: &Path) -> Result<Self> {
        let folder = root().join("target/fuzz");
        let [corpus, failures] = ["corpus", "failures"].map(|name| folder.join(name).join(target));
        for folder in [&corpus, &failures] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let log = folder.join(format!("{target}.log"));
        Ok(Self { target, program: programs.join(target), corpus, failures, log })
    }

    /// Runs until the end that the flag `end` sets, or the first failure. Gives the figures, and the paths of
    /// findings.
    fn run(&self, end: &str) -> Result<(Figures, Vec<PathBuf>)> {
        println!("== {}: {end}, log in {}", self.target, self.log.display());
        let before = findings::files(&self.failures)?;
        let fuzz = root().join("fuzz");
        let mut command = Command::new(&self.program);
        command.args(LIMITS).args([end, LONGEST, "-print_final_stats=1"]);
        command.arg(prefixed("-artifact_prefix=", &self.failures.join("")));
        let words = fuzz.join("dictionaries").join(format!("{}.dict", self.target));
        command.arg(prefixed("-dict=", &words)).arg(&self.corpus);
        let fixtures = (self.target == "photo").then(|| root().join("fixtures/processor/kinds"));
        let committed = ["seeds", "findings"].map(|kind| fuzz.join(kind).join(self.target));
        command.args(committed.into_iter().chain(fixtures).filter(|folder| folder.exists()));
        let log = File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let status = command.stdout(log.try_clone()?).stderr(log).status().context("running a target")?;
        let text = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let mut found = Vec::new();
        for failure in findings::files(&self.failures)?.difference(&before) {
            found.extend(findings::keep(failure, &self.program, self.target, &text)?);
        }
        let said = log::last_words(&text);
        ensure!(status.success() || !found.is_empty(), "{} ended by {status}: {said}", self.target);
        if !found.is_empty() {
            println!("   {said}");
        }
        Ok((Figures::of(&text), found))
    }
}

fn prefixed(flag: &str, path: &Path) -> String {
    format!("{flag}{}", path.display())
}
