//! The command as its users run it. `segment` and `bench` need a Vulkan, Metal or DirectX 12 adapter, be it a
//! software one, and fail without.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod bench;
mod checkpoints;
mod conditions;
mod convert;
mod data_sets;
mod devices;
mod eval;
mod frames;
mod hostile;
#[cfg(feature = "hub")]
mod hub;
mod inputs;
mod kernels;
mod masks_in_use;
mod memory;
mod names;
mod photos;
mod prompts;
mod saves;
mod segment;
mod signals;
mod support;
