//! What a prompt's files say of how they were made.

use std::path::Path;

use serde::{Serialize, Serializer};

/// How masks are made, and what is made of them.
#[derive(Clone, Copy, Serialize)]
pub struct Settings<'a> {
    #[serde(serialize_with = "as_shown")]
    pub photo: &'a Path,
    pub width: usize,
    pub height: usize,
    /// Probability from which a pixel belongs to the mask.
    pub threshold: f32,
    /// Pixels that a connected part of the mask has at least.
    pub min_area: usize,
}

/// A path as text, also one that is not UTF-8, which must not keep a result from being written.
fn as_shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
