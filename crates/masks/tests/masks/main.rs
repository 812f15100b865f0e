//! Masks against plain definitions of what is made of them, and against pycocotools.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod components;
mod contours;
mod distance;
mod label_map;
mod overlay;
mod probabilities;
mod run_lengths;
mod sizes;
mod support;
