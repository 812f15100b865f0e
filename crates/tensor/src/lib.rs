#![doc = include_str!("../README.md")]

mod adapter;
mod array;
mod buffer;
#[cfg(not(target_family = "wasm"))]
mod cache_file;
mod checksum;
mod commands;
mod cost;
mod device;
mod device_id;
mod device_options;
mod error;
mod failure;
mod gpu;
mod host_memory;
mod llvmpipe;
mod mask;
mod mask_plan;
mod matrix_units;
mod memory;
mod ops;
mod overlay;
#[cfg(not(target_family = "wasm"))]
mod pacer;
#[cfg(not(target_family = "wasm"))]
mod part;
#[cfg(not(target_family = "wasm"))]
mod peaks;
mod photo;
mod pipeline;
#[cfg(not(target_family = "wasm"))]
mod pipeline_file;
mod plan;
mod plan_cache;
mod pool;
mod precision;
#[cfg(feature = "processor")]
mod processor;
mod profile;
#[cfg(feature = "processor")]
mod program;
mod recorder;
mod requirements;
mod staging;
mod step;
mod step_check;
mod submitted;
mod tensor;
mod texture;
mod tile;
mod transfer;
pub mod transformer;
#[cfg(not(target_family = "wasm"))]
mod tuner;
mod twin;
mod upload;
#[cfg(not(target_family = "wasm"))]
mod waiting;
mod weights;

pub use adapter::{AdapterChoice, AdapterReport, KernelFamily, adapters, describe, is_named};
pub use array::Array;
pub use checksum::{Checksum, checksum};
pub use clipseg_shaders::Activation;
pub use cost::Cost;
pub use device::Device;
pub use device_options::DeviceOptions;
pub use error::{Error, Result};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use failure::faults;
pub use llvmpipe::{LLVMPIPE_WIDTH_VARIABLE, llvmpipe_environment, llvmpipe_width};
pub use mask::{MaskTarget, MaskTexels, MaskValues, MaskWriter};
pub use matrix_units::MatrixUnits;
pub use memory::MemoryUse;
pub use ops::{
    AttentionMask, Convolution3x3, LayerNorm, Linear, Mlp, Modulation, Packing, SharedRows,
    TransposedConvolution, UpsampleInput,
};
pub use overlay::{Overlay, OverlayWriter};
#[cfg(not(target_family = "wasm"))]
pub use peaks::{MemoryRates, Peaks};
pub use photo::{PhotoResize, PhotoResizing, ResizeAxis};
#[cfg(not(target_family = "wasm"))]
pub use pipeline_file::PipelineStore;
pub use plan::{Plan, Run};
pub use plan_cache::PlanCache;
pub use precision::Precision;
pub use profile::KernelTime;
pub use recorder::Recorder;
pub use requirements::{LimitTooSmall, minimum_limits, required_features, required_limits};
pub use step_check::{StepCheck, Worst};
pub use tensor::{DType, Tensor};
pub use tile::Tile;
#[cfg(not(target_family = "wasm"))]
pub use waiting::block_on;
pub use weights::Weights;
pub use wgpu;
