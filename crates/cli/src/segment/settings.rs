//! The settings that a prompt's files record.

use std::path::Path;

use serde::Serialize;

use crate::paths::PathText;

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
