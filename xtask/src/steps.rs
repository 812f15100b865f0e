//! `cargo xtask test` and `cargo xtask demo`: what runs cargo again.

use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::{root, verify, vulkan};

/// Everything that has to hold before a change lands, the quickest first.
pub fn test() -> Result<()> {
    vulkan::ensure_adapter()?;
    step("formatting", cargo(["fmt", "--all", "--check"]))?;
    step("lints", cargo(["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]))?;
    step("tests", cargo(["test", "--workspace"]))?;
    let mut documentation = cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
    documentation.env("RUSTDOCFLAGS", "--deny warnings");
    step("documentation", documentation)?;
    // After the tests, the numbers: the other family of kernels runs on the small checkpoints, and full size once.
    step("verify, classic kernels", cargo(["xtask", "verify", "--classic"]))?;
    step("verify", cargo(["xtask", "verify"]))?;
    step("verify at full size", cargo(["xtask", "verify", "--full"]))
}

/// Segments the committed photo with the full-size checkpoint, through the command that users run.
pub fn demo() -> Result<()> {
    vulkan::ensure_adapter()?;
    let checkpoint = verify::ready_full_checkpoint()?;
    let out = root().join("target/demo");
    println!(
        "The weights are made up from a seed (the published ones cannot be redistributed): the engine does all of the \
         real model's work, but what it marks means nothing. With `--model` and a folder of the published weights it is \
         the real thing."
    );
    let mut segment = cargo(["run", "--quiet", "--package", "clipseg-cli", "--", "segment", "--model"]);
    segment.arg(&checkpoint).arg("fixtures/photos/chelsea.png");
    for prompt in ["a cat", "fur", "the background"] {
        segment.args(["--prompt", prompt]);
    }
    segment.arg("--out").arg(&out);
    step("segment", segment)?;
    println!("the pictures are in {}", out.display());
    Ok(())
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

fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    // The cargo that runs this task, so that a toolchain chosen with `+` stays chosen.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

fn step(name: &str, mut command: Command) -> Result<()> {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let line = format!("cargo {}", words.join(" "));
    println!("\n== {name}: {line}");
    let start = Instant::now();
    let status = command.status().with_context(|| format!("running `{line}`"))?;
    ensure!(status.success(), "{name} failed: `{line}`");
    println!("== {name}: ok, {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
