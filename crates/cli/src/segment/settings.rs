//! The settings that a prompt's files record.

use std::path::Path;

use serde::Serialize;

use crate::paths::PathText;

/// What the files begin with: no other program has cause to begin a file with a photo's path.
const START: &str = "{\"photo\":\"";

/// Whether a file has settings, so that this program wrote it.
pub fn is_ours(path: &Path) -> bool {
    clipseg_files::starts_with(path, START.as_bytes())
}

/// How masks are made, and what is made of them.
#[derive(Clone, Copy, Serialize)]
pub struct Settings<'a> {
    pub photo: PathText<&'a Path>,
    pub width: usize,
    pub height: usize,
    /// Probability from which a pixel belongs to the mask.
    pub threshold: f32,
    /// Whether the mask is of the pixels that do not reach the threshold.
    pub invert: bool,
    /// The fewest pixels that a connected part of the mask has.
    pub min_area: usize,
    /// Pixels by which the mask has grown; below 0 it has shrunk.
    pub grow: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_begin_with_the_photo() {
        let photo = PathText(Path::new("a.png"));
        let settings =
            Settings { photo, width: 2, height: 1, threshold: 0.5, invert: false, min_area: 0, grow: 0.0 };
        assert!(serde_json::to_string(&settings).unwrap().starts_with(START));
    }
}
