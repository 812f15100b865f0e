//! CLIPSeg: image segmentation by text and image prompts, on any GPU through wgpu.
//!
//! A photo is encoded once; any number of prompts are then decoded against it.
//!
//! ```no_run
//! use clipseg::{ClipSeg, Device, DeviceOptions, Orientation, Photo};
//!
//! # fn main() -> clipseg::Result<()> {
//! let device = Device::open(&DeviceOptions::default())?;
//! let model = ClipSeg::from_pretrained(&device, "clipseg-rd64-refined")?;
//! let photo = Photo::open("photo.jpg", Orientation::Apply)?;
//!
//! let image = model.encode_image(&photo)?;
//! let segmentation = model.segment(&image, &["a cat", "a remote"])?;
//! let mask = segmentation.resized(photo.width(), photo.height())?.mask(0, 0.5);
//! # Ok(())
//! # }
//! ```
//!
//! [`masks`] combines the probabilities of several prompts, makes masks of them, moves and softens their edges, and makes
//! polygons, connected components, COCO's run lengths and label maps of masks. [`Smoother`] averages over frames, and
//! [`SavedConditions`] keeps what prompts are encoded to.
//!
//! With the feature `hub`, `hub::download("CIDAS/clipseg-rd64-refined", …)` brings a checkpoint from the Hugging Face Hub into the
//! usual cache and gives the folder for [`ClipSeg::from_pretrained`].
//!
//! [`ClipSeg`] takes photos and words and waits for the device. Underneath, [`ClipSegForImageSegmentation`], [`ClipSegModel`] and
//! the towers take ids and pixels, give everything that transformers' classes of these names give, and are asynchronous.

mod condition;
mod contrastive;
mod fingerprint;
mod loading;
mod loss;
mod map_plans;
mod maps;
mod model;
mod parts;
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
mod pipeline;
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
mod prompt_cache;
mod refinement;
mod saved_conditions;
mod segmentation;
mod smoother;
mod templates;
mod towers;
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
mod windows;

pub use clipseg_clip::{
    Activation, Checkpoint, ClipSegConfig, ClipSegTextConfig, ClipSegVisionConfig, EncodedImage, Error,
    ImageInput, ImageSize, LoadProgress, MAX_PIXELS, OutputOptions, Photo, PixelBatch, PixelFormat,
    PixelValues, PreprocessorConfig, Processor, PromptStyle, Resample, Result, StandIn, TensorView,
    TextEncoder, TextInput, TowerOutput, VisionEncoder,
};
#[cfg(feature = "tokenizer")]
pub use clipseg_clip::{ClipSegProcessor, PaddingSide, ProcessedInputs, TextBatch, TokenIds, Tokenizer};
#[cfg(feature = "decode")]
pub use clipseg_clip::{Orientation, PhotoFile};
pub use clipseg_decoder::{DecoderOutput, DecoderOutputOptions};
#[cfg(all(feature = "hub", not(target_family = "wasm")))]
pub use clipseg_hub as hub;
pub use clipseg_masks as masks;
pub use clipseg_tensor::{
    AdapterChoice, AdapterReport, Array, Cost, Device, DeviceOptions, Error as DeviceError, KernelFamily,
    KernelTime, LLVMPIPE_WIDTH_VARIABLE, MemoryUse, Precision, StepCheck, Tensor, Worst, adapters, describe,
    llvmpipe_environment, llvmpipe_width, wgpu,
};
pub use condition::Condition;
pub use contrastive::{ClipSegModel, ClipSegOutput};
pub use model::{ClipSegForImageSegmentation, ConditionInput, SegmentationInput, SegmentationOutput};
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
pub use pipeline::ClipSeg;
pub use refinement::Refinement;
pub use saved_conditions::SavedConditions;
pub use safetensors;
pub use segmentation::Segmentation;
pub use serde_json;
pub use smoother::Smoother;
pub use templates::{Template, TemplateSet, phrases};
pub use towers::{ClipSegTextModel, ClipSegVisionModel};
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
pub use windows::{EncodedWindows, WindowPixels, WindowStep, Windows};
