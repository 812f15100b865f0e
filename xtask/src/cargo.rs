//! Running cargo, as a step that says what it is and how long it took.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::root;

/// Cargo with these arguments, run in the repository's root.
pub fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    // The cargo that runs this task, so that a toolchain chosen with `+` stays chosen.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command as a step with a name, which is said before and after it.
pub fn step(name: &str, mut command: Command) -> Result<()> {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let line = format!("cargo {}", words.join(" "));
    println!("\n== {name}: {line}");
    let start = Instant::now();
    let status = command.status().with_context(|| format!("running `{line}`"))?;
    ensure!(status.success(), "{name} failed: `{line}`");
    println!("== {name}: ok, {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Builds `clipseg` as users have it.
pub fn build_cli() -> Result<()> {
    build_cli_of(root())
}

/// As [`build_cli`], in another work tree and its own target folder.
pub fn build_cli_of(tree: &Path) -> Result<()> {
    let mut build = cargo(["build", "--quiet", "--release", "--package", "clipseg-cli"]);
    build.current_dir(tree).env("CARGO_TARGET_DIR", tree.join("target"));
    step(&format!("build in {}", tree.display()), build)
}

/// Builds an example of the benches.
pub fn build_example(name: &str) -> Result<()> {
    let mut build =
        cargo(["build", "--quiet", "--release", "--package", "clipseg-benches", "--example", name]);
    build.env("CARGO_TARGET_DIR", root().join("target"));
    step("build", build)
}

/// Builds a package that is not a member of the workspace, as its own lock file says.
pub fn build_alone(package: &str, target: &str) -> Result<()> {
    let mut build = cargo(["build", "--quiet", "--release", "--locked"]);
    build.current_dir(root().join(package)).env("CARGO_TARGET_DIR", root().join(target));
    step(&format!("build {package}"), build)
}
