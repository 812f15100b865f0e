//! Finds a usable adapter, or installs Mesa on Debian and Ubuntu.

use anyhow::{Context, Result};
use clipseg::{adapters, describe};
use pollster::block_on;

use crate::install::install;

const PACKAGE: &str = "mesa-vulkan-drivers";

/// Returns once there is an adapter. Where there is none, installs Mesa's software Vulkan if this is Debian
/// or Ubuntu and the user is root, and else says what to run.
pub fn ensure_adapter() -> Result<()> {
    if let Some(adapter) = best() {
        println!("adapter: {adapter}");
        return Ok(());
    }
    install(
        &[PACKAGE],
        "no GPU adapter was found",
        "Install your GPU's Vulkan driver, or Mesa's software one: on Fedora `sudo dnf install mesa-vulkan-drivers`, on \
         Arch `sudo pacman -S vulkan-swrast`",
    )?;
    let adapter = best().context("still no adapter after the installation; `vulkaninfo` may tell why")?;
    println!("adapter: {adapter}");
    Ok(())
}

/// The best adapter of a driver: the processor needs none, and runs no kernels.
fn best() -> Option<String> {
    let all = block_on(adapters());
    all.iter().find(|adapter| !adapter.is_processor()).map(|adapter| describe(&adapter.info))
}
