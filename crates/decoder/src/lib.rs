//! CLIPSeg's decoder: activations of CLIP's vision tower and a condition in, segmentation logits out.
//!
//! Lüddecke and Ecker, *Image Segmentation Using Text and Image Prompts*, CVPR 2022; the arithmetic is that
//! of transformers' `CLIPSegDecoder`. It knows nothing of text, images or files.

mod config;
mod decoder;
mod upsampler;

pub use config::DecoderConfig;
pub use decoder::{Conditions, Decoder, DecoderOutput, DecoderOutputOptions};
