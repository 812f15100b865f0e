//! Checkpoints, configs, the tokenizer and the processor, beside transformers, Pillow and hostile files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod added_tokens;
mod checkpoint;
mod config;
mod config_refusals;
mod hostile_tokenizer;
mod kinds;
mod processor;
mod processor_config;
mod tokenizer;
mod transformers5;
