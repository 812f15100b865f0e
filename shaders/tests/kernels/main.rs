//! What holds for every kernel, read off its text and naga's view of it; no device is needed.

mod composition;
mod forms;
mod limits;
mod metal;
mod variants;
mod writers;
