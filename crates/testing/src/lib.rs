//! What tests, benches and the project's tasks share: numbers that look random, comparisons that fail for
//! what is not a number, and the folder of fixtures. No program for users depends on it.

mod closeness;
mod random;

use std::path::{Path, PathBuf};

pub use closeness::{assert_close, assert_close_at_scale, assert_close_in_f16};
pub use random::Random;

/// A file or folder of `fixtures/`, by its path within.
#[must_use]
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)
}
