#[cfg(not(target_family = "wasm"))]
use std::path::PathBuf;
#[cfg(not(target_family = "wasm"))]
use std::time::Duration;

use crate::Precision;
use crate::adapter::{AdapterChoice, KernelFamily};
use crate::matrix_units::MatrixUnits;
#[cfg(not(target_family = "wasm"))]
use crate::pipeline_file::PipelineStore;

/// How to open a [`Device`](crate::Device).
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// Which adapter; by default a discrete GPU before an integrated one before the processor.
    /// [`Device::from_wgpu`](crate::Device::from_wgpu) is given one.
    pub adapter: AdapterChoice,
    /// Which kernels, where an op has several; by default what suits the adapter. The processor, which runs
    /// none, is not taken where this insists on some.
    pub kernels: KernelFamily,
    /// Keep naga's bounds and loop checks in the shaders. Off, the kernels' own bounds hold; tests turn them
    /// on.
    pub runtime_checks: bool,
    /// How the weights of linear layers are stored, by default in f16 where that loses nothing; and whether
    /// activations are.
    pub precision: Precision,
    /// Whether products and attention run on matrix units where `precision` is [`Precision::F16`]; by default
    /// they do not.
    pub matrix_units: MatrixUnits,
    /// Bytes that weights, plans, encoded images and read-backs may take together; `None`, the default, as
    /// much as there is. Plans that are only kept to be quick make room, and models look for fewer prompts at
    /// once; what does not fit at all is refused with [`Error::OverBudget`](crate::Error::OverBudget).
    /// Threads that work at the same time need their memory at the same time. The driver's own needs come on
    /// top.
    pub memory_budget: Option<u64>,
    /// How long a submission may take, so that a user interface on the same GPU keeps drawing. Longer runs
    /// are submitted in parts by a thread of the device's own, each when the one before it is done; dropping
    /// the future of a run stops what is left of it. Products of matrices and attention are cut, too, where
    /// one alone takes longer. Times are estimated by what earlier submissions took, so that some take longer
    /// than this, above all the first of each kernel. `None`, the default, submits each run at once, which is
    /// quicker for whoever is alone.
    #[cfg(not(target_family = "wasm"))]
    pub longest_submission: Option<Duration>,
    /// A folder for files that say which kernel is the fastest at which product of matrices, attention, layer
    /// norm or softmax on which adapter, of the [family](Self::kernels) that runs there and with its [matrix
    /// units](Self::matrix_units) where they are on. A kernel is taken only if its numbers are those of the
    /// plainest one. What they do not say is measured when a plan is recorded, which takes seconds, and noted
    /// there. `None`, the default, measures nothing and takes what suits the shape. Another kernel adds up in
    /// another order: its numbers differ in the last digits.
    #[cfg(not(target_family = "wasm"))]
    pub tuning: Option<PathBuf>,
    /// Where compiled pipelines are kept, which saves the driver their compilation in the next process: in
    /// files of a folder, which may be that of [`tuning`](Self::tuning), or in the cache of a host. `None`,
    /// the default, keeps none, and so do adapters that do not offer it
    /// ([`AdapterReport::pipeline_cache`](crate::AdapterReport::pipeline_cache)). Most desktop drivers keep a
    /// cache of their own, beside which this saves little.
    #[cfg(not(target_family = "wasm"))]
    pub pipeline_cache: Option<PipelineStore>,
}
