//! The library without its features, for programs that bring pixels and token ids.

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, step};

/// Crates that such a program builds at most, on Linux and with those that only a build needs.
const MOST: usize = 80;
/// What it does without.
const ABSENT: [&str; 6] = ["image", "libjpeg-turbo-rs", "tiff", "tokenizers", "rayon", "rten-gemm"];

/// Compiles the test of pixels and ids without any feature, and counts the library's dependencies. The test
/// runs among the workspace's; that it passes without features, and that the library compiles with each
/// feature alone, is left to the workflow in `.github`: each set of features builds wgpu anew.
pub fn check() -> Result<()> {
    let test = ["check", "--package", "clipseg", "--no-default-features", "--test", "pixels_and_ids"];
    step("the library without its features", cargo(test))?;
    let tree = [
        "tree",
        "--package",
        "clipseg",
        "--no-default-features",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
    ];
    let output = cargo(tree).output().context("running cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    let mut names: Vec<_> = lines.lines().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    names.dedup();
    let found = ABSENT.into_iter().find(|absent| names.contains(absent));
    ensure!(
        found.is_none(),
        "without its features the library still depends on {}",
        found.unwrap_or_default()
    );
    ensure!(
        names.len() <= MOST,
        "without its features the library is {} crates, at most {MOST}",
        names.len()
    );
    println!("== dependencies without features: {} crates", names.len());
    Ok(())
}
