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
//! [`masks`] combines the probabilities of several prompts, makes masks of them, moves and softens their
//! edges, and makes polygons, connected components, COCO's run lengths and label maps of masks. [`Smoother`]
//! averages over frames, and [`SavedConditions`] keeps what prompts are encoded to, [`SavedImage`] what
//! photos are.
//!
//! With the feature `hub`, `hub::download("CIDAS/clipseg-rd64-refined", …)` brings a checkpoint from the
//! Hugging Face Hub into the usual cache and gives the folder for [`ClipSeg::from_pretrained`].
//!
//! [`ClipSeg`] takes photos and words and waits for the device. Underneath, [`ClipSegForImageSegmentation`],
//! [`ClipSegModel`] and the towers take ids and pixels, give everything that transformers' classes of these
//! names give, and are asynchronous.
//!
//! # Without files
//! Weights come from bytes or a reader, the rest from texts; errors name them by the label or file name that
//! they were given:
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use clipseg::{
//!     Checkpoint, ClipSeg, ClipSegConfig, ClipSegForImageSegmentation, Device, Photo, PixelFormat, PreprocessorConfig,
//!     Processor, Tokenizer,
//! };
//!
//! # fn run(device: &Device, weights: Vec<u8>, config: &str, preprocessor: &str, vocab: &str, merges: &str, frame: &[u8])
//! # -> clipseg::Result<()> {
//! // Several shards would be `Checkpoint::from_shards`, one behind a reader `Checkpoint::from_reader`.
//! let checkpoint = Checkpoint::from_bytes("weights", weights)?.with_progress(|progress| {
//!     println!("{:.0} %", 100.0 * progress.share());
//!     ControlFlow::Continue(()) // or Break, which ends the loading with `Error::Cancelled`
//! });
//! let model = ClipSegForImageSegmentation::load(device, &checkpoint, &ClipSegConfig::from_json(config)?)?;
//! let processor = Processor::new(PreprocessorConfig::from_json(preprocessor)?)?;
//! let tokenizer = Tokenizer::from_files([("vocab.json", vocab), ("merges.txt", merges)])?;
//! let model = ClipSeg::from_parts(model, processor, tokenizer)?;
//!
//! // A frame of another program: rows of BGRA that begin every 8192 bytes.
//! let photo = Photo::from_pixels(PixelFormat::Bgra8, 1920, 1080, frame, 8192)?;
//! # Ok(())
//! # }
//! ```
//!
//! One checkpoint serves several devices: [`Checkpoint::keep`] reads its files once, and so is none read
//! again after the loss of a device.
//!
//! # Features
//! | | default | what it is for | without it |
//! |---|---|---|---|
//! | `decode` | yes | `Photo::open`, `Photo::from_bytes` | pixels are brought to [`Photo::from_pixels`] |
//! | `tokenizer` | yes | `Tokenizer`, and `ClipSeg` with it | ids are brought to [`ClipSegForImageSegmentation`] |
//! | `processor` | yes | the processor as a device | an adapter is needed |
//! | `hub` | no | downloads from the Hugging Face Hub | |
//!
//! # Errors, types and versions
//! Every function of this crate fails with [`Error`], and `?` makes one of the device's [`DeviceError`],
//! which [`Device::open`] gives: a program needs no other. Every type in a signature can be named from this
//! crate; where it is of the engine underneath, as [`tensor`], or of [`wgpu`], [`safetensors`] or
//! [`serde_json`], these are re-exported.
//!
//! Enums and structs that are marked `#[non_exhaustive]` may gain variants and fields. Structs that
//! callers fill in, options and inputs, are not: those that have a `Default` may gain fields, so end them
//! with `..Default::default()`.

mod condition;
mod contrastive;
mod device_segmentation;
mod loading;
mod loss;
mod map_plans;
mod maps;
mod model;
mod parts;
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
mod pipeline;
#[cfg(feature = "tokenizer")]
mod processor;
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
mod prompt_cache;
mod refinement;
mod saved_conditions;
mod saved_image;
mod segmentation;
mod smoother;
mod templates;
mod towers;
mod visual_prompt;
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
mod windows;

pub use clipseg_clip::{
    Activation, Checkpoint, ClipSegConfig, ClipSegTextConfig, ClipSegVisionConfig, EncodedImage, Error,
    ImageInput, ImageSize, LoadProgress, MAX_PIXELS, OutputOptions, Photo, PixelBatch, PixelFormat,
    PixelValues, PreprocessorConfig, Processor, Resample, Result, StandIn, TensorView, TextEncoder,
    TextInput, TowerOutput, VisionEncoder,
};
#[cfg(feature = "decode")]
pub use clipseg_clip::{Orientation, PhotoFile};
#[cfg(feature = "tokenizer")]
pub use clipseg_clip::{PaddingSide, TextBatch, TokenIds, Tokenizer};
pub use clipseg_decoder::{DecoderOutput, DecoderOutputOptions};
#[cfg(all(feature = "hub", not(target_family = "wasm")))]
pub use clipseg_hub as hub;
pub use clipseg_masks as masks;
pub use clipseg_tensor as tensor;
pub use clipseg_tensor::{
    AdapterChoice, AdapterReport, Array, Cost, Device, DeviceOptions, Error as DeviceError, KernelFamily,
    KernelTime, LLVMPIPE_WIDTH_VARIABLE, LimitTooSmall, MaskValues, MatrixUnits, MemoryUse, Overlay,
    Precision, StepCheck, Tensor, Worst, adapters, describe, is_named, llvmpipe_environment, llvmpipe_width,
    minimum_limits, required_features, required_limits, wgpu,
};
#[cfg(not(target_family = "wasm"))]
pub use clipseg_tensor::{MemoryRates, Peaks, PipelineStore, block_on};
pub use condition::Condition;
pub use contrastive::{ClipSegModel, ClipSegOutput};
pub use device_segmentation::DeviceSegmentation;
pub use model::{ClipSegForImageSegmentation, ConditionInput, SegmentationInput, SegmentationOutput};
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
pub use pipeline::ClipSeg;
#[cfg(feature = "tokenizer")]
pub use processor::{ClipSegProcessor, ProcessedInputs};
pub use refinement::Refinement;
pub use safetensors;
pub use saved_conditions::SavedConditions;
pub use saved_image::SavedImage;
pub use segmentation::Segmentation;
pub use serde_json;
pub use smoother::Smoother;
pub use templates::{Template, TemplateSet, phrases};
pub use towers::{ClipSegTextModel, ClipSegVisionModel};
pub use visual_prompt::PromptStyle;
#[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
pub use windows::{EncodedWindows, WindowPixels, WindowStep, Windows};
