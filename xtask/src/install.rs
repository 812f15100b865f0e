//! Installs what the tasks need of the system on Debian and Ubuntu, and asks for it elsewhere.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Installs packages if this is Debian or Ubuntu and the user is root, and else says what to run: `elsewhere`
/// on other systems. `missing` says what is not there.
pub fn install(packages: &[&str], missing: &str, elsewhere: &str) -> Result<()> {
    let command = format!("apt-get install -y {}", packages.join(" "));
    if !Path::new("/etc/debian_version").exists() {
        bail!("{missing}. {elsewhere}");
    }
    if !is_root() {
        bail!("{missing}. Run `sudo {command}`, then this again");
    }
    println!("{missing}; installing: {command}");
    // A fresh image has no package lists; an old one may name versions that are gone.
    run("apt-get", &["update", "--quiet"])?;
    run("apt-get", &[&["install", "--yes", "--quiet", "--no-install-recommends"], packages].concat())
}

/// Whether the user is root.
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .with_context(|| format!("running {program}"))?;
    ensure!(status.success(), "`{program} {}` failed: {status}", arguments.join(" "));
    Ok(())
}
