#[cfg(not(target_family = "wasm"))]
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::adapter::{self, AdapterChoice, Chosen, KernelFamily};
use crate::buffer::Buffer;
use crate::failure::Failures;
use crate::gpu::{self, Gpu};
use crate::memory::{MemoryCount, MemoryKind, PlanCaches};
use crate::pipeline::PipelineCache;
#[cfg(not(target_family = "wasm"))]
use crate::pipeline_file::PipelineFile;
use crate::pool::{Pool, SharedPool};
#[cfg(feature = "processor")]
use crate::processor::{self, Processor};
use crate::profile::Profile;
use crate::staging::Staging;
use crate::step_check::StepChecks;
use crate::{Error, Precision, Result};

/// How to open a [`Device`].
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// Which adapter; by default a discrete GPU before an integrated one before the processor.
    pub adapter: AdapterChoice,
    /// Which kernels, where an op has several; by default what suits the adapter. The processor, which runs none, is not taken
    /// where this insists on some.
    pub kernels: KernelFamily,
    /// Keep naga's bounds and loop checks in the shaders. Off, the kernels' own bounds hold; tests turn them on.
    pub runtime_checks: bool,
    /// How the weights of linear layers are stored, by default in f16 where that loses nothing; and whether activations are.
    pub precision: Precision,
    /// Bytes that weights, plans, encoded images and read-backs may take together; `None`, the default, as much as there is. Plans that are
    /// only kept to be quick make room, and models look for fewer prompts at once; what does not fit at all is refused with
    /// [`Error::OverBudget`]. Threads that work at the same time need their memory at the same time. The driver's own needs come on top.
    pub memory_budget: Option<u64>,
    /// A folder for files that say which kernel is the fastest at which product of matrices on which adapter. What they do not say
    /// is measured when a plan is recorded, which takes seconds, and noted there. `None`, the default, measures nothing and takes
    /// what suits the shape. Another kernel adds up in another order: its numbers differ in the last digits.
    #[cfg(not(target_family = "wasm"))]
    pub tuning: Option<PathBuf>,
    /// A folder for files of compiled pipelines, which save the driver their compilation in the next process; it may be that of
    /// [`tuning`](Self::tuning). `None`, the default, keeps none, and so do adapters that do not offer it
    /// ([`AdapterReport::pipeline_cache`](crate::AdapterReport::pipeline_cache)). Most desktop drivers keep a cache of their own,
    /// beside which this saves little. Drivers trust what they once wrote: others should not be able to write there.
    #[cfg(not(target_family = "wasm"))]
    pub pipeline_cache: Option<PathBuf>,
}

/// An open adapter with its pipelines: what every tensor and plan lives on. Cloning is cheap and shares all of it.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

/// Tells the devices of this process apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceId(u64);

impl DeviceId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

struct Inner {
    id: DeviceId,
    engine: Engine,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    precision: Precision,
    pipelines: PipelineCache,
    profile: Profile,
    step_checks: StepChecks,
    memory: MemoryCount,
    failures: Arc<Failures>,
    plan_caches: PlanCaches,
    staging: Mutex<Vec<Staging>>,
    /// Memory of dropped tensors that outlived their recordings.
    recycled: SharedPool,
    created: AtomicUsize,
    identity: OnceLock<String>,
}

/// What runs the plans.
enum Engine {
    Gpu(Box<Gpu>),
    #[cfg(feature = "processor")]
    Processor(Processor),
}

impl Device {
    /// Opens an adapter, or the processor.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when there is none, or none of that name or number; [`Error::Adapter`] when it gives no device,
    /// or lacks what [`DeviceOptions::kernels`] or [`DeviceOptions::precision`] insist on.
    pub async fn open_async(options: &DeviceOptions) -> Result<Self> {
        let memory = MemoryCount::new(options.memory_budget);
        match adapter::choose(&options.adapter, options.kernels).await? {
            Chosen::Adapter(adapter) => {
                let gpu = Gpu::open(&adapter, options).await?;
                let (info, limits) = (adapter.get_info(), adapter.limits());
                let precision = match options.precision {
                    Precision::Auto if !gpu.supports_unpack2x16float => Precision::F32,
                    precision => precision,
                };
                #[cfg(not(target_family = "wasm"))]
                let file = options.pipeline_cache.as_deref();
                #[cfg(not(target_family = "wasm"))]
                let file = file.and_then(|folder| PipelineFile::open(folder, &gpu.device, &info));
                let pipelines = PipelineCache::new(
                    options.runtime_checks,
                    #[cfg(not(target_family = "wasm"))]
                    file,
                );
                let failures = Arc::clone(&gpu.failures);
                Ok(Self::new(
                    Engine::Gpu(Box::new(gpu)),
                    (info, limits),
                    precision,
                    pipelines,
                    failures,
                    memory,
                ))
            }
            #[cfg(feature = "processor")]
            Chosen::Processor => {
                let pipelines = PipelineCache::new(
                    options.runtime_checks,
                    #[cfg(not(target_family = "wasm"))]
                    None,
                );
                let engine = Engine::Processor(Processor::open()?);
                let about = (processor::info(), processor::limits());
                Ok(Self::new(engine, about, options.precision, pipelines, Arc::default(), memory))
            }
        }
    }

    fn new(
        engine: Engine,
        (info, limits): (wgpu::AdapterInfo, wgpu::Limits),
        precision: Precision,
        pipelines: PipelineCache,
        failures: Arc<Failures>,
        memory: MemoryCount,
    ) -> Self {
        Self(Arc::new(Inner {
            id: DeviceId::next(),
            engine,
            info,
            limits,
            precision,
            pipelines,
            profile: Profile::default(),
            step_checks: StepChecks::default(),
            recycled: Pool::counting(memory.nothing(MemoryKind::EncodedImages), false),
            memory,
            failures,
            plan_caches: PlanCaches::default(),
            staging: Mutex::default(),
            created: AtomicUsize::new(0),
            identity: OnceLock::new(),
        }))
    }

    /// [`open_async`](Self::open_async), waited for.
    ///
    /// # Errors
    /// As [`open_async`](Self::open_async).
    #[cfg(not(target_family = "wasm"))]
    pub fn open(options: &DeviceOptions) -> Result<Self> {
        pollster::block_on(Self::open_async(options))
    }

    /// The adapter: its name, driver, backend and kind.
    #[must_use]
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.0.info
    }

    /// The limits in force, those of the adapter.
    #[must_use]
    pub fn limits(&self) -> &wgpu::Limits {
        &self.0.limits
    }

    /// Which kernels run where an op has several.
    #[must_use]
    pub fn kernels(&self) -> KernelFamily {
        if self.lanes().is_some() { KernelFamily::Subgroup } else { KernelFamily::Workgroup }
    }

    /// What runs the steps of plans, for people: which kernels, or their twins.
    #[must_use]
    pub fn runs(&self) -> &'static str {
        match (self.is_processor(), self.kernels()) {
            (true, _) => "twins of the kernels",
            (false, KernelFamily::Subgroup) => "subgroup kernels",
            (false, _) => "workgroup kernels",
        }
    }

    /// Whether this is the processor, which runs the CPU twins of the kernels.
    #[must_use]
    pub fn is_processor(&self) -> bool {
        !matches!(self.0.engine, Engine::Gpu(_))
    }

    /// One line for people: name, backend and driver.
    #[must_use]
    pub fn description(&self) -> &str {
        self.0.identity.get_or_init(|| adapter::describe(&self.0.info))
    }

    /// Rows of the largest tensor that the subgroup kernels take: the side of a texture. `None` for the workgroup kernels.
    #[must_use]
    pub fn row_limit(&self) -> Option<usize> {
        self.lanes().map(|_| self.0.limits.max_texture_dimension_2d as usize)
    }

    /// Waits until the device has done all that was submitted to it. In a browser it returns at once, and so it does for the
    /// processor, which has done a plan when it was submitted.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device is gone.
    pub fn wait(&self) -> Result<()> {
        match self.gpu() {
            Ok(gpu) => gpu.poll(wgpu::PollType::wait_indefinitely()),
            Err(_) => self.failures().check(),
        }
    }

    /// As [`wait`](Self::wait), for one submission alone: not for what other threads submitted after it.
    pub(crate) fn wait_for(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        self.gpu()?.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None })
    }

    /// Buffers, textures, bind groups and pipelines made on this device so far. A warm run makes none.
    #[must_use]
    pub fn resources_created(&self) -> usize {
        self.0.created.load(Ordering::Relaxed)
    }

    pub(crate) fn count_created(&self) {
        self.0.created.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn create_buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> Result<wgpu::Buffer> {
        self.count_created();
        Ok(self.gpu()?.device.create_buffer(descriptor))
    }

    pub(crate) fn create_texture(
        &self,
        format: wgpu::TextureFormat,
        width: u32,
        height: u32,
    ) -> Result<wgpu::Texture> {
        self.count_created();
        Ok(self.gpu()?.device.create_texture(&gpu::texture_descriptor(format, width, height)))
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.0.id
    }

    /// Refuses what was made on another device: its memory would be taken for this one's.
    pub(crate) fn expect_own(&self, owner: DeviceId, what: impl FnOnce() -> String) -> Result<()> {
        if owner == self.id() { Ok(()) } else { Err(Error::OtherDevice { what: what() }) }
    }

    pub(crate) fn failures(&self) -> &Failures {
        &self.0.failures
    }

    pub(crate) fn recycled(&self) -> &SharedPool {
        &self.0.recycled
    }

    /// What the device is, where it is one of wgpu's.
    ///
    /// # Errors
    /// [`Error::OtherDevice`] for the processor: what needs a GPU there was made on one.
    pub(crate) fn gpu(&self) -> Result<&Gpu> {
        match &self.0.engine {
            Engine::Gpu(gpu) => Ok(gpu),
            #[cfg(feature = "processor")]
            Engine::Processor(_) => Err(Error::OtherDevice { what: "what was made for a GPU".to_owned() }),
        }
    }

    /// What the device is, where it is the processor.
    #[cfg(feature = "processor")]
    pub(crate) fn processor(&self) -> Option<&Processor> {
        match &self.0.engine {
            Engine::Gpu(_) => None,
            Engine::Processor(processor) => Some(processor),
        }
    }

    /// Lanes of a subgroup, 8 or 16, where the subgroup kernels run.
    pub(crate) fn lanes(&self) -> Option<u32> {
        self.gpu().ok().and_then(|gpu| gpu.lanes)
    }

    /// Whether the driver offers something: subgroup operations (whatever the subgroups' size), timestamps.
    pub(crate) fn has(&self, features: wgpu::Features) -> bool {
        self.gpu().is_ok_and(|gpu| gpu.has(features))
    }

    /// Whether kernels may pack and unpack f16 values.
    pub(crate) fn supports_unpack2x16float(&self) -> bool {
        self.gpu().is_ok_and(|gpu| gpu.supports_unpack2x16float)
    }

    /// How weights are stored: as [`DeviceOptions::precision`] says, and `F32` where the adapter reads no f16 values.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    pub(crate) fn pipelines(&self) -> &PipelineCache {
        &self.0.pipelines
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.0.profile
    }

    pub(crate) fn step_checks(&self) -> &StepChecks {
        &self.0.step_checks
    }

    pub(crate) fn memory(&self) -> &MemoryCount {
        &self.0.memory
    }

    /// Stands in for an operand that a kernel's flags leave out.
    pub(crate) fn empty_buffer(&self) -> Buffer {
        match &self.0.engine {
            Engine::Gpu(gpu) => Buffer::Gpu(gpu.empty_buffer.clone()),
            #[cfg(feature = "processor")]
            Engine::Processor(processor) => processor.empty().clone(),
        }
    }

    pub(crate) fn plan_caches(&self) -> &PlanCaches {
        &self.0.plan_caches
    }

    /// What read-backs have gone through and the next ones may.
    pub(crate) fn free_staging(&self) -> &Mutex<Vec<Staging>> {
        &self.0.staging
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Device").field(&self.description()).finish()
    }
}

/// Four columns of floats per texel: the format of tensors.
pub(crate) const F32_TEXELS: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Float;
/// Eight f16 values per texel, in pairs: the format of weights that are stored so.
pub(crate) const PACKED_F16_TEXELS: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Uint;
