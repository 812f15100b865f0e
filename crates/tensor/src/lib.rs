//! Tensors, ops and recorded plans on wgpu.
//!
//! Ops are called on a [`Recorder`] and read like PyTorch. [`Recorder::finish`] gives a [`Plan`]: prebuilt bind groups and
//! dispatches, run any number of times with one submit each.
//!
//! ```no_run
//! use clipseg_tensor::{Device, DeviceOptions, Linear, Recorder};
//!
//! # async fn example() -> clipseg_tensor::Result<()> {
//! let device = Device::open_async(&DeviceOptions::default()).await?;
//! let layer = Linear::new(&device, 2, 3, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], None)?;
//! let mut recorder = Recorder::new(&device);
//! let input = recorder.input(&[1, 3])?;
//! let output = recorder.linear(&input, &layer)?;
//! let output = recorder.output(&output)?;
//! let plan = recorder.finish()?;
//!
//! let mut run = plan.run();
//! run.write(&input, &[5.0, 6.0, 7.0])?;
//! assert_eq!(run.finish(&[&output]).await?[0].values, [5.0, 6.0]);
//! # Ok(())
//! # }
//! ```

mod adapter;
mod array;
mod buffer;
#[cfg(not(target_family = "wasm"))]
mod cache_file;
mod checksum;
mod cost;
mod device;
mod error;
mod failure;
mod gpu;
mod llvmpipe;
mod memory;
mod ops;
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
mod recorder;
mod staging;
mod step;
mod step_check;
mod tensor;
mod tile;
pub mod transformer;
#[cfg(not(target_family = "wasm"))]
mod tuner;
mod twin;
mod upload;
mod weights;

pub use adapter::{AdapterChoice, AdapterReport, KernelFamily, adapters, describe};
pub use array::Array;
pub use checksum::checksum;
pub use clipseg_shaders::Activation;
pub use cost::Cost;
pub use device::{Device, DeviceOptions};
pub use error::{Error, Result};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use failure::faults;
pub use llvmpipe::{LLVMPIPE_WIDTH_VARIABLE, llvmpipe_environment, llvmpipe_width};
pub use memory::MemoryUse;
pub use ops::{
    AttentionMask, Convolution3x3, LayerNorm, Linear, Mlp, Modulation, Packing, TransposedConvolution,
    UpsampleInput,
};
pub use plan::{Plan, Run};
pub use plan_cache::PlanCache;
pub use precision::Precision;
pub use profile::KernelTime;
pub use recorder::Recorder;
pub use step_check::{StepCheck, Worst};
pub use tensor::{DType, Tensor};
pub use tile::Tile;
pub use weights::Weights;
pub use wgpu;
