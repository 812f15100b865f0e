//! Running the `clipseg` command, for tasks that only forward to it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cargo, cli, root};

/// The command as this tree has it, built before; or on a machine without the tree the one in this program's
/// folder. It is told which commit it is of.
pub fn clipseg() -> Result<Command> {
    let mut command = match is_tree() {
        true => {
            cargo::build_cli()?;
            cli::clipseg(root())
        }
        false => Command::new(beside_this_program("clipseg")?),
    };
    command.envs(variables());
    Ok(command)
}

/// Whether the sources are there, and not only fixtures.
fn is_tree() -> bool {
    root().join("Cargo.toml").is_file()
}

/// The tree's commit, marked where files differ from it; without the tree, the one of which the variable told
/// when this program was built.
pub fn commit() -> Option<String> {
    if !is_tree() {
        return option_env!("CLIPSEG_COMMIT").map(str::to_owned);
    }
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The variable by which `clipseg kernels` knows the commit.
pub fn variables() -> Option<(&'static str, String)> {
    Some(("CLIPSEG_COMMIT", commit()?))
}

/// A program in this one's folder.
pub fn beside_this_program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("where this program lies")?;
    let program = own.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    ensure!(
        program.is_file(),
        "{}: not found; build it with `cargo build --release --package clipseg-cli`, or put it there",
        program.display()
    );
    Ok(program)
}

/// Runs a command to its end, and this program's with it where it fails.
pub fn run(mut command: Command) -> Result<()> {
    let status = command.status().context("running clipseg")?;
    if !status.success() {
        // What went wrong has been said already.
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(())
}

/// Runs `clipseg kernels` with these arguments, in the folder that the task was called from.
pub fn kernels(arguments: &[OsString]) -> Result<()> {
    let mut command = clipseg()?;
    command.arg("kernels").args(arguments);
    run(command)
}
