//! CLIP for CLIPSeg: everything between a checkpoint, a prompt or a photo, and the tensors made from them.
//!
//! The feature `decode` reads picture files and `tokenizer` turns words into token ids. Both are on by
//! default. Without them, programs supply pixels ([`Photo::from_pixels`]) and token ids ([`TextInput`]), and
//! need a third fewer dependencies.

pub mod checkpoint;
pub mod config;
mod error;
mod files;
#[cfg(feature = "decode")]
#[doc(hidden)]
pub mod fuzzing;
mod prefix;
pub mod processor;
mod sampled;
mod stand_in;
mod text;
#[cfg(feature = "tokenizer")]
pub mod tokenizer;
mod tower;
mod vision;
mod weights;

pub use self::checkpoint::{Checkpoint, LoadProgress, TensorView};
pub use self::config::{Activation, ClipSegConfig, ClipSegTextConfig, ClipSegVisionConfig};
pub use self::error::{Error, Result};
pub use self::processor::{
    ImageSize, MAX_PIXELS, Photo, PixelBatch, PixelFormat, PixelValues, PreprocessorConfig, Processor,
    Resample,
};
#[cfg(feature = "decode")]
pub use self::processor::{Orientation, PhotoFile};
pub use self::sampled::Sampled;
pub use self::stand_in::StandIn;
pub use self::text::{TextEncoder, TextInput};
#[cfg(feature = "tokenizer")]
pub use self::tokenizer::{PaddingSide, TextBatch, TokenIds, Tokenizer};
pub use self::tower::{OutputOptions, TowerOutput};
pub use self::vision::{EncodedImage, ImageInput, VisionEncoder};
