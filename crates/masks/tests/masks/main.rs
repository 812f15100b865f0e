//! Compares masks and what is made from them with simple definitions, and with pycocotools.

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
