//! CLIP for CLIPSeg: what lies between a checkpoint folder, a prompt, a photo and the tensors made of them.

pub mod checkpoint;
pub mod config;
mod error;
mod files;
#[doc(hidden)]
pub mod fuzzing;
pub mod processor;
mod text;
pub mod tokenizer;
mod tower;
mod vision;
mod weights;

pub use self::checkpoint::{Checkpoint, TensorView};
pub use self::config::{Activation, ClipSegConfig, ClipSegTextConfig, ClipSegVisionConfig};
pub use self::error::{Error, Result};
pub use self::files::StandIn;
pub use self::processor::{
    ClipSegProcessor, ImageSize, MAX_PIXELS, Orientation, Photo, PhotoFile, PixelBatch, PixelValues,
    PreprocessorConfig, ProcessedInputs, Processor, PromptStyle, Resample,
};
pub use self::text::{TextEncoder, TextInput};
pub use self::tokenizer::{PaddingSide, TextBatch, TokenIds, Tokenizer};
pub use self::tower::{OutputOptions, TowerOutput};
pub use self::vision::{EncodedImage, ImageInput, VisionEncoder};
