//! `cargo xtask test` and `cargo xtask demo`: steps that run cargo again.

use std::ffi::OsString;

use anyhow::{Context, Result};

use crate::cargo::{cargo, step};
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
    for (name, width) in [("tests of the ops, four lanes", "128"), ("tests of the ops, sixteen lanes", "512")]
    {
        let mut ops = cargo(["test", "--workspace", "--test", "ops"]);
        ops.envs(llvmpipe_of(width));
        step(name, ops)?;
    }
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
    drivers::test_with_trixie()?;
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

/// Runs `clipseg convert`, in the folder that the task was called from.
pub fn convert(arguments: &[OsString]) -> Result<()> {
    let manifest = root().join("Cargo.toml");
    let mut command = cargo(["run", "--quiet", "--release", "--package", "clipseg-cli", "--manifest-path"]);
    command.arg(manifest).args(["--", "convert"]).args(arguments).current_dir(std::env::current_dir()?);
    let status = command.status().context("running cargo")?;
    // What went wrong has been said already.
    std::process::exit(status.code().unwrap_or(1));
}
