//! The full-size check.

use anyhow::{Result, bail};
use clipseg::Device;

pub fn verify(_device: &Device, _tolerance: f64) -> Result<()> {
    bail!("later")
}
