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
mod device_segmentation;
mod fingerprint;
mod loading;
mod loss;
mod map_plans;
mod maps;
mod model;
mod parts;
#[cfg(not(target_family = "wasm"))]
mod pipeline;
#[cfg(not(target_family = "wasm"))]
mod prompt_cache;
mod refinement;
mod saved_conditions;
mod segmentation;
mod smoother;
mod templates;
mod towers;
#[cfg(not(target_family = "wasm"))]
mod windows;

pub use clipseg_clip::{
    Activation, Checkpoint, ClipSegConfig, ClipSegProcessor, ClipSegTextConfig, ClipSegVisionConfig,
    EncodedImage, Error, ImageInput, ImageSize, Orientation, OutputOptions, PaddingSide, Photo, PhotoFile,
    PixelBatch, PixelValues, PreprocessorConfig, ProcessedInputs, Processor, PromptStyle, Resample, Result,
    StandIn, TextBatch, TextEncoder, TextInput, TokenIds, Tokenizer, TowerOutput, VisionEncoder,
};
pub use clipseg_decoder::{DecoderOutput, DecoderOutputOptions};
#[cfg(all(feature = "hub", not(target_family = "wasm")))]
pub use clipseg_hub as hub;
pub use clipseg_masks as masks;
pub use clipseg_tensor::{
    AdapterChoice, AdapterReport, Array, Cost, Device, DeviceOptions, Error as DeviceError, KernelFamily,
    KernelTime, LLVMPIPE_WIDTH_VARIABLE, LimitTooSmall, MaskValues, MatrixUnits, MemoryUse, Precision,
    StepCheck, Worst, adapters, describe, llvmpipe_environment, llvmpipe_width, minimum_limits,
    required_features, required_limits, wgpu,
};
#[cfg(not(target_family = "wasm"))]
pub use clipseg_tensor::{MemoryRates, Peaks, PipelineStore, block_on};
pub use condition::Condition;
pub use contrastive::{ClipSegModel, ClipSegOutput};
pub use device_segmentation::DeviceSegmentation;
pub use model::{ClipSegForImageSegmentation, ConditionInput, SegmentationInput, SegmentationOutput};
#[cfg(not(target_family = "wasm"))]
pub use pipeline::ClipSeg;
pub use refinement::Refinement;
pub use saved_conditions::SavedConditions;
pub use segmentation::Segmentation;
pub use smoother::Smoother;
pub use templates::{Template, TemplateSet, phrases};
pub use towers::{ClipSegTextModel, ClipSegVisionModel};
#[cfg(not(target_family = "wasm"))]
pub use windows::{EncodedWindows, WindowPixels, WindowStep, Windows};
