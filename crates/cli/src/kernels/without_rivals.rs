//! What stands in place of `rival` without the feature `webgpu-kernels`: there is none, and whoever asks for
//! one is told so.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clipseg::{AdapterReport, Device};

use super::cases::Case;
use super::measure::Costs;
use super::report::{Failure, Record};
use super::work::Work;
use crate::output;

const ABSENT: &str = "this clipseg was built without the feature `webgpu-kernels`, which reads and writes that \
                      layout; build it with its default features: \
                      cargo install --path crates/cli";

/// Refuses.
pub fn export(_: &output::Folder) -> Result<String> {
    bail!("--export: {ABSENT}")
}

/// None.
pub enum Rival {}

impl Rival {
    /// Refuses.
    pub fn open(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        Err(anyhow!(ABSENT)).with_context(|| format!("--rival {shown}"))
    }

    pub fn ours() -> Vec<Self> {
        Vec::new()
    }

    pub fn origin(&self) -> Option<String> {
        match *self {}
    }

    pub fn id(&self) -> String {
        match *self {}
    }

    pub fn computes(&self, _: Work) -> bool {
        match *self {}
    }
}

/// None.
pub enum Arena {}

impl Arena {
    pub fn open(_: &AdapterReport) -> Result<Self> {
        bail!(ABSENT)
    }

    pub fn is_stuck(&self) -> bool {
        match *self {}
    }

    pub fn row(&self, _: &Rival, _: &Case, _: &Device, _: Duration) -> Result<(Record, Costs), Box<Failure>> {
        match *self {}
    }
}
