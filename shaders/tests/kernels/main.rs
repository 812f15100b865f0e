//! What holds for every kernel, read off its text and naga's view of it; no device is needed.

mod copies;
mod limits;
mod variants;
mod writers;
