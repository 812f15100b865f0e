//! What stands in place of `hub` without the feature of that name: there is no repository, and whoever names
//! one is told so.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use anyhow::{Result, bail};
use clipseg_files::Form;

/// What the user gave in place of a folder, for a message. Addresses may hold a password.
pub fn shown(given: &Path) -> String {
    let given = given.to_string_lossy();
    match given.contains("://") {
        true => "an address".to_owned(),
        false => clipseg_files::shown(&given),
    }
}

/// Refuses.
pub fn repository(path: &Path) -> Result<Option<Repository>> {
    bail!(
        "{}: there is no such file or folder, and this clipseg was built without the feature `hub`, which \
         downloads from the Hugging Face Hub; give a folder, or build it with its default features: \
         cargo install --path crates/cli",
        shown(path)
    )
}

pub fn snapshot(repository: &Repository, _: &str) -> Result<Snapshot> {
    match *repository {}
}

pub fn download_weights(snapshot: &Snapshot, _: Form) -> Result<()> {
    match *snapshot {}
}

/// None.
pub enum Repository {}

impl Display for Repository {
    fn fmt(&self, _: &mut Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// None.
pub enum Snapshot {}

impl Snapshot {
    pub fn folder(&self) -> &Path {
        match *self {}
    }

    pub fn check_weights(&self, _: Form) -> Result<()> {
        match *self {}
    }
}
