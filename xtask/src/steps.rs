//! `cargo xtask test` and `cargo xtask demo`: steps that run cargo again.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::{browser, deny, drivers, hub, light, names, prose, root, vulkan, wasm};

/// Everything that has to hold before a change lands, the quickest first.
pub fn test() -> Result<()> {
    vulkan::ensure_adapter()?;
    step("formatting", cargo(["fmt", "--all", "--check"]))?;
    prose::check()?;
    step("lints", cargo(["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]))?;
    deny::check()?;
    step("tests", cargo(["test", "--workspace"]))?;
    browser::check()?;
    light::check()?;
    wasm::check()?;
    // Of the whole workspace here and below, as one package alone has other features of wgpu, which is then
    // built anew. llvmpipe has as many lanes as it is told, also on processors for which that is not fast; by
    // itself it has eight.
    let mut sixteen_lanes = cargo(["test", "--workspace", "--test", "ops"]);
    sixteen_lanes.envs(llvmpipe_of("512"));
    step("tests of the ops, sixteen lanes", sixteen_lanes)?;
    for python in hub::pythons()? {
        let mut hub = cargo(["test", "--workspace", "--test", "hub", "python", "--", "--ignored"]);
        hub.env("CLIPSEG_TEST_PYTHON", &python);
        step("downloads beside Python's", hub)?;
    }
    let mut documentation = cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
    documentation.env("RUSTDOCFLAGS", "--deny warnings");
    step("documentation", documentation)?;
    names::check()?;
    // After the tests, the numbers: on the processor, with both families of kernels on the small checkpoints,
    // and full size once.
    step("verify, the processor", cargo(["xtask", "verify", "--adapter", "cpu"]))?;
    step("verify, workgroup kernels", cargo(["xtask", "verify", "--adapter", "driver", "--workgroup"]))?;
    for (name, width) in [("verify, eight lanes", "256"), ("verify, sixteen lanes", "512")] {
        let mut verify = cargo(["xtask", "verify", "--adapter", "driver", "--steps"]);
        verify.envs(llvmpipe_of(width));
        step(name, verify)?;
    }
    drivers::verify_with_trixie()?;
    step("verify at full size, the processor", cargo(["xtask", "verify", "--full", "--adapter", "cpu"]))?;
    step("verify at full size", cargo(["xtask", "verify", "--full", "--adapter", "driver"]))
}

/// The environment with which llvmpipe has vectors of `width` bits, its shaders kept apart from those of
/// other widths.
fn llvmpipe_of(width: &str) -> impl IntoIterator<Item = (&'static str, OsString)> {
    clipseg::llvmpipe_environment(width, &root().join("target"))
}

/// The demo, as `cargo xtask demo` runs it without this package.
pub fn demo() -> Result<()> {
    step("demo", cargo(["xtask", "demo"]))
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

/// Runs `clipseg convert`, in the folder that the task was called from.
pub fn convert(arguments: &[OsString]) -> Result<()> {
    let manifest = root().join("Cargo.toml");
    let mut command = cargo(["run", "--quiet", "--release", "--package", "clipseg-cli", "--manifest-path"]);
    command.arg(manifest).args(["--", "convert"]).args(arguments).current_dir(std::env::current_dir()?);
    let status = command.status().context("running cargo")?;
    // What went wrong has been said already.
    std::process::exit(status.code().unwrap_or(1));
}

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
