//! A usable adapter first: found, or on Debian and Ubuntu installed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clipseg::{adapters, describe};
use pollster::block_on;

const PACKAGE: &str = "mesa-vulkan-drivers";

/// Returns once there is an adapter. Where there is none, installs Mesa's software Vulkan if this is Debian or Ubuntu and the
/// user is root, and else says what to run.
pub fn ensure_adapter() -> Result<()> {
    if let Some(adapter) = best() {
        println!("adapter: {adapter}");
        return Ok(());
    }
    let command = format!("apt-get install -y {PACKAGE}");
    if !Path::new("/etc/debian_version").exists() {
        bail!(
            "no GPU adapter was found. Install your GPU's Vulkan driver, or Mesa's software one: on Fedora \
             `sudo dnf install mesa-vulkan-drivers`, on Arch `sudo pacman -S vulkan-swrast`"
        );
    }
    if !is_root() {
        bail!(
            "no GPU adapter was found. Install Mesa's software Vulkan with `sudo {command}`, then run this again"
        );
    }
    println!("no GPU adapter was found; installing Mesa's software Vulkan: {command}");
    // A fresh image has no package lists; an old one may name versions that are gone.
    run("apt-get", &["update", "--quiet"])?;
    run("apt-get", &["install", "--yes", "--quiet", "--no-install-recommends", PACKAGE])?;
    let adapter = best().context("still no adapter after the installation; `vulkaninfo` may tell why")?;
    println!("adapter: {adapter}");
    Ok(())
}

fn best() -> Option<String> {
    block_on(adapters()).first().map(|adapter| describe(&adapter.info))
}

fn is_root() -> bool {
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
