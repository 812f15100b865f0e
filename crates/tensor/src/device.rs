#[cfg(not(target_family = "wasm"))]
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
#[cfg(not(target_family = "wasm"))]
use std::time::Duration;

use crate::adapter::{self, AdapterChoice, Chosen, KernelFamily};
use crate::buffer::Buffer;
use crate::failure::Failures;
use crate::gpu::{self, Gpu};
use crate::matrix_units::{MatrixSize, MatrixUnits};
use crate::memory::{MemoryCount, MemoryKind, PlanCaches};
use crate::pipeline::PipelineCache;
#[cfg(not(target_family = "wasm"))]
use crate::pipeline_file::{OpenStore, PipelineStore};
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
    /// [`Device::from_wgpu`] is given one.
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
    /// once; what does not fit at all is refused with [`Error::OverBudget`]. Threads that work at the same
    /// time need their memory at the same time. The driver's own needs come on top.
    pub memory_budget: Option<u64>,
    /// How long a submission may take, so that a user interface on the same GPU keeps drawing. Longer runs
    /// are submitted in parts by a thread of the device's own, each when the one before it is done; dropping
    /// the future of a run stops what is left of it. Times are estimated by what earlier submissions took, so
    /// that some take longer, and a single kernel cannot be cut: of the published size the longest has some 3
    /// GFLOP. `None`, the default, submits each run at once, which is quicker for whoever is alone.
    #[cfg(not(target_family = "wasm"))]
    pub longest_submission: Option<Duration>,
    /// A folder for files that say which kernel is the fastest at which product of matrices on which adapter.
    /// What they do not say is measured when a plan is recorded, which takes seconds, and noted there.
    /// `None`, the default, measures nothing and takes what suits the shape. Another kernel adds up in
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

/// An open adapter with its pipelines: what every tensor and plan lives on. Cloning is cheap and shares all
/// of it.
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
    /// [`Error::NoAdapter`] when there is none, or none of that name or number; [`Error::Adapter`] when it
    /// gives no device, or lacks what [`DeviceOptions::kernels`] or [`DeviceOptions::precision`] insist on.
    pub async fn open_async(options: &DeviceOptions) -> Result<Self> {
        match adapter::choose(&options.adapter, options.kernels).await? {
            Chosen::Adapter(adapter) => {
                #[cfg(not(target_family = "wasm"))]
                if matches!(options.pipeline_cache, Some(PipelineStore::Cache(_))) {
                    let reason =
                        "a cache of pipelines is its own device's; give it to Device::from_wgpu with that, \
                                  or a folder here"
                            .to_owned();
                    return Err(Error::Adapter { adapter: adapter.get_info().name, reason });
                }
                Self::on(Gpu::open(&adapter, options).await?, options)
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
                let memory = MemoryCount::new(options.memory_budget);
                Ok(Self::new(engine, about, options.precision, pipelines, Arc::default(), memory))
            }
        }
    }

    /// Lives on a device and queue of a program that opened them on `adapter` for itself: a renderer, an
    /// editor, a game.
    ///
    /// Any device will do that was opened with `wgpu::Limits::default()` and no features;
    /// [`required_limits`](crate::required_limits) and [`required_features`](crate::required_features) say
    /// what to ask for so that nothing is left unused. What counts is what the device was opened with, not
    /// what the adapter offers.
    ///
    /// # What stays the host's
    /// - Its handlers of uncaptured errors and of the device's loss. The engine's own failures are caught in
    ///   error scopes on the thread whose work it was, and come back as errors.
    /// - The device: [`destroy`](Self::destroy) ends what the engine has there and leaves the device alone.
    /// - Its work: the engine waits for its own submissions and for nothing after them. A queue works in
    ///   order, so the host's earlier work is done then too. wgpu runs whatever callbacks are due on the
    ///   thread that polls or submits; a host's callback may therefore run on a thread that waits here.
    ///
    /// # How a loss is noticed
    /// wgpu tells a loss to the one handler, which is the host's. After each piece of work the engine looks
    /// whether the device is still there, and answers with [`Error::DeviceLost`] from then on; a host that
    /// knows earlier may call [`destroy`](Self::destroy). In a browser nothing tells a lost device from a
    /// good one: reading a result back fails there as [`Error::Device`].
    ///
    /// `queue` must be the device's own. wgpu tells errors of a queue to the device that it belongs to, so
    /// that another one's could not be found out here.
    ///
    /// # Errors
    /// [`Error::Limits`] when the device was opened with too small limits, each by name; [`Error::Adapter`]
    /// when it was not opened on `adapter`, lacks what [`DeviceOptions::kernels`] or
    /// [`DeviceOptions::precision`] insist on, or does not keep the pipelines of a [`PipelineStore::Cache`];
    /// [`Error::DeviceLost`] when it is lost already.
    pub fn from_wgpu(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: &DeviceOptions,
    ) -> Result<Self> {
        #[cfg(not(target_family = "wasm"))]
        if matches!(options.pipeline_cache, Some(PipelineStore::Cache(_)))
            && !device.features().contains(wgpu::Features::PIPELINE_CACHE)
        {
            let reason = "the device was opened without Features::PIPELINE_CACHE, so that the cache is another one's; \
                          ask for the feature, or give no cache"
                .to_owned();
            return Err(Error::Adapter { adapter: adapter.get_info().name, reason });
        }
        Self::on(Gpu::adopt(adapter, device, queue, options)?, options)
    }

    fn on(gpu: Gpu, options: &DeviceOptions) -> Result<Self> {
        let (info, limits) = (gpu.device.adapter_info(), gpu.device.limits());
        let precision = match options.precision {
            Precision::Auto if !gpu.supports_unpack2x16float => Precision::F32,
            precision => precision,
        };
        #[cfg(not(target_family = "wasm"))]
        let store = match &options.pipeline_cache {
            Some(store) => {
                gpu.failures.guard(&gpu.device, || Ok(OpenStore::open(store, &gpu.device, &info)))?
            }
            None => None,
        };
        let pipelines = PipelineCache::new(
            options.runtime_checks,
            #[cfg(not(target_family = "wasm"))]
            store,
        );
        let failures = Arc::clone(&gpu.failures);
        let memory = MemoryCount::new(options.memory_budget);
        Ok(Self::new(Engine::Gpu(Box::new(gpu)), (info, limits), precision, pipelines, failures, memory))
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

    /// The limits in force: those of the adapter, or those that a host's device was opened with.
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

    /// Rows of the largest tensor that the subgroup kernels take: the side of a texture. `None` for the
    /// workgroup kernels.
    #[must_use]
    pub fn row_limit(&self) -> Option<usize> {
        self.lanes().map(|_| self.0.limits.max_texture_dimension_2d as usize)
    }

    /// Waits until the device has done all that the engine submitted to it; what a host submitted later on a
    /// device of its own is not waited for. In a browser it returns at once, and so it does for the
    /// processor, which has done a plan when it was submitted.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device is gone.
    pub fn wait(&self) -> Result<()> {
        match self.gpu() {
            Ok(gpu) => gpu.wait(),
            Err(_) => self.failures().check(),
        }
    }

    /// Buffers, textures, bind groups and pipelines made on this device so far. A warm run makes none.
    #[must_use]
    pub fn resources_created(&self) -> usize {
        self.0.created.load(Ordering::Relaxed)
    }

    /// How often the engine has submitted work to the queue so far: within [`commands`](Self::commands) it
    /// does not.
    #[must_use]
    pub fn submissions(&self) -> usize {
        self.gpu().map_or(0, |gpu| gpu.submissions.load(Ordering::Relaxed))
    }

    pub(crate) fn count_created(&self) {
        self.0.created.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn create_buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> Result<wgpu::Buffer> {
        self.count_created();
        Ok(self.gpu()?.device.create_buffer(descriptor))
    }

    /// A buffer to copy `bytes` from, of a length that is a multiple of four.
    pub(crate) fn create_filled(&self, bytes: &[u8]) -> Result<wgpu::Buffer> {
        self.create_filled_as(bytes, wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC)
    }

    /// A buffer of `bytes`, of a length that is a multiple of four.
    pub(crate) fn create_filled_as(&self, bytes: &[u8], usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let buffer = self.create_buffer(&wgpu::BufferDescriptor {
            label: Some("input"),
            // A buffer of no bytes cannot be mapped.
            size: bytes.len().max(4) as u64,
            usage,
            mapped_at_creation: true,
        })?;
        // Where there was no memory for it, or the device is lost, it cannot be mapped, as whose scope this
        // is will be told.
        if let Ok(mut view) = buffer.get_mapped_range_mut(..bytes.len() as u64) {
            view.copy_from_slice(bytes);
        }
        buffer.unmap();
        Ok(buffer)
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

    /// The matrices that matrix units multiply, where they are to: with [`Precision::F16`] alone, as they
    /// round what they multiply.
    pub(crate) fn matrix_units(&self) -> Option<MatrixSize> {
        self.gpu().ok().and_then(|gpu| gpu.matrix_units)
    }

    /// Whether the driver offers something: subgroup operations (whatever the subgroups' size), timestamps.
    pub(crate) fn has(&self, features: wgpu::Features) -> bool {
        self.gpu().is_ok_and(|gpu| gpu.has(features))
    }

    /// Whether kernels may pack and unpack f16 values.
    pub(crate) fn supports_unpack2x16float(&self) -> bool {
        self.gpu().is_ok_and(|gpu| gpu.supports_unpack2x16float)
    }

    /// How weights are stored: as [`DeviceOptions::precision`] says, and `F32` where the adapter reads no f16
    /// values.
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
