//! CLIPSeg's decoder: it turns activations of CLIP's vision tower and a condition into segmentation logits.
//!
//! Lüddecke and Ecker, *Image Segmentation Using Text and Image Prompts*, CVPR 2022; the arithmetic is that
//! of transformers' `CLIPSegDecoder`. This crate does not deal with text, images or files.

mod config;
mod decoder;
mod upsampler;

pub use config::DecoderConfig;
pub use decoder::{Conditions, Decoder, DecoderOutput, DecoderOutputOptions};
