//! Checks that the library compiles for browsers: `cargo check` for wasm32-unknown-unknown.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, step};
use crate::root;

const TARGET: &str = "wasm32-unknown-unknown";

/// Checks the library for browsers, with its default features. If the target's standard library is missing,
/// rustup is asked to install it; if that fails, this says so and checks nothing.
pub fn check() -> Result<()> {
    let is_ready = is_there()? || add() && is_there()?;
    if !is_ready {
        println!(
            "\n== the library in a browser: not checked, as this toolchain has no standard library for {TARGET}; \
             `rustup target add {TARGET}` brings it"
        );
        return Ok(());
    }
    step("the library in a browser", cargo(["check", "--package", "clipseg", "--target", TARGET]))
}

/// Whether the toolchain that runs this task has the target's standard library.
fn is_there() -> Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(root())
        .output()
        .context("running rustc")?;
    ensure!(output.status.success(), "`rustc --print target-libdir` failed: {}", output.status);
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).exists())
}

/// Has rustup download the target's standard library, some 20 MB. False where there is no rustup, or it
/// fails.
fn add() -> bool {
    println!(
        "\n== the library in a browser: rustup target add {TARGET}, as its standard library is not there"
    );
    Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(root())
        // One try: a machine without a network is not kept waiting.
        .env("RUSTUP_MAX_RETRIES", "0")
        .status()
        .is_ok_and(|status| status.success())
}
