//! The Pythons for the tests of Python's own `huggingface_hub` against the tests' Hub, and of its cache
//! against ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::install::install;
use crate::reference::{HUB, OLD_HUB, ready_venv};
use crate::root;

const PYTHON: &str = "python3";

/// The Pythons that the tests run with: one with today's client, and one with the client of the references.
pub fn pythons() -> Result<[PathBuf; 2]> {
    if !can_make_environments() {
        install(
            &["python3", "python3-venv"],
            "there is no Python that can make virtual environments",
            "Install Python 3 with its modules venv and ensurepip, as `python3`",
        )?;
        ensure!(can_make_environments(), "`{PYTHON} -m venv` still fails after the installation");
    }
    let venv = |name: &str, requirements| {
        ready_venv(Path::new(PYTHON), &root().join("target").join(name), requirements, None)
    };
    Ok([venv("python-hub", HUB)?, venv("python-hub-old", OLD_HUB)?])
}

fn can_make_environments() -> bool {
    let import = Command::new(PYTHON).args(["-c", "import venv, ensurepip"]).output();
    import.is_ok_and(|output| output.status.success())
}
