//! What is built without features: the library for programs that bring pixels and token ids, the command for
//! the demo.

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, step};

/// Crates that a program with the library builds at most, on Linux and with those that only a build needs.
const MOST: usize = 80;
/// What it does without.
const ABSENT: [&str; 6] = ["image", "libjpeg-turbo-rs", "tiff", "tokenizers", "rayon", "rten-gemm"];
/// Crates that the demo builds at most: each is waited for on a fresh clone.
const MOST_OF_DEMO: usize = 190;
/// What it does without.
const ABSENT_FROM_DEMO: [&str; 4] = ["clipseg-hub", "minijinja", "ring", "rustls"];

/// Compiles the test of pixels and ids without any feature, and counts the dependencies of the library and of
/// the command. The test runs among the workspace's; that it passes without features, and that both compile
/// with each feature alone, is left to the workflow in `.github`: each set of features builds wgpu anew.
pub fn check() -> Result<()> {
    let test = ["check", "--package", "clipseg", "--no-default-features", "--test", "pixels_and_ids"];
    step("the library without its features", cargo(test))?;
    expect_few("clipseg", MOST, &ABSENT)?;
    expect_few("clipseg-cli", MOST_OF_DEMO, &ABSENT_FROM_DEMO)
}

/// Counts what a package without its features depends on.
fn expect_few(package: &str, most: usize, absent: &[&str]) -> Result<()> {
    let tree = [
        "tree",
        "--package",
        package,
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
    let found = absent.iter().find(|absent| names.contains(absent));
    ensure!(
        found.is_none(),
        "without its features {package} still depends on {}",
        found.copied().unwrap_or_default()
    );
    ensure!(names.len() <= most, "without its features {package} is {} crates, at most {most}", names.len());
    println!("== dependencies of {package} without features: {} crates", names.len());
    Ok(())
}
