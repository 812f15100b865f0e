//! Tests that download from a Hub on loopback into a cache.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cache;
mod limits;
mod python;
mod redirects;
mod refusals;
mod secrets;
mod support;
mod waits;
