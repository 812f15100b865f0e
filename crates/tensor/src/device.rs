#[cfg(not(target_family = "wasm"))]
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::adapter::{self, AdapterChoice, KernelFamily};
use crate::failure::Failures;
use crate::memory::{MemoryCount, MemoryKind, PlanCaches};
use crate::pipeline::PipelineCache;
#[cfg(not(target_family = "wasm"))]
use crate::pipeline_file::PipelineFile;
use crate::pool::{Pool, SharedPool};
use crate::profile::Profile;
use crate::staging::Staging;
#[cfg(not(target_family = "wasm"))]
use crate::tuner::{Subject, Tuner};
use crate::{Error, Precision, Result};

/// How to open a [`Device`].
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// Which adapter; by default a discrete GPU before an integrated one before a software adapter.
    pub adapter: AdapterChoice,
    /// Which kernels, where an op has several; by default what suits the adapter.
    pub kernels: KernelFamily,
    /// Keep naga's bounds and loop checks in the shaders. Off, the kernels' own bounds hold; tests turn them on.
    pub runtime_checks: bool,
    /// How the weights of linear layers are stored, by default in halves where that loses nothing; and whether activations are.
    pub precision: Precision,
    /// Bytes that weights, plans, scenes and read-backs may take together; `None`, the default, as much as there is. Plans that are
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
    gpu: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    lanes: Option<u32>,
    precision: Precision,
    reads_halves: bool,
    #[cfg(not(target_family = "wasm"))]
    tuner: Option<Tuner>,
    pipelines: PipelineCache,
    profile: Profile,
    memory: MemoryCount,
    failures: Arc<Failures>,
    empty_buffer: wgpu::Buffer,
    empty_texture: wgpu::Texture,
    plan_caches: PlanCaches,
    staging: Mutex<Vec<Staging>>,
    uploading: AtomicUsize,
    /// Memory of dropped tensors that outlived their recordings.
    lent: SharedPool,
    created: AtomicUsize,
    identity: OnceLock<String>,
}

impl Device {
    /// Opens an adapter.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when there is none, or none of that name or number; [`Error::Adapter`] when it gives no device,
    /// or lacks what [`DeviceOptions::kernels`] or [`DeviceOptions::precision`] insist on.
    pub async fn request(options: &DeviceOptions) -> Result<Self> {
        let adapter = adapter::choose(&options.adapter).await?;
        let info = adapter.get_info();
        let failed = |reason: String| Error::Adapter { adapter: info.name.clone(), reason };
        let lanes = adapter::subgroup_lanes(&adapter, options.kernels).map_err(failed)?;
        let mut features =
            wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY;
        #[cfg(not(target_family = "wasm"))]
        features.set(wgpu::Features::PIPELINE_CACHE, options.pipeline_cache.is_some());
        let limits = adapter.limits();
        let downlevel = adapter.get_downlevel_capabilities().flags;
        let reads_halves = downlevel.contains(wgpu::DownlevelFlags::SHADER_F16_IN_F32);
        let precision = match options.precision {
            Precision::F16 if !reads_halves => {
                return Err(failed("its shaders cannot read half-precision floats; take f32".to_owned()));
            }
            Precision::Auto if !reads_halves => Precision::F32,
            precision => precision,
        };
        let (gpu, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("clipseg"),
                required_features: features & adapter.features(),
                required_limits: limits.clone(),
                ..Default::default()
            })
            .await
            .map_err(|error| failed(error.to_string()))?;

        let failures = Failures::of(&gpu);
        let (empty_buffer, empty_texture) = failures.guard(&gpu, || {
            let buffer = gpu.create_buffer(&wgpu::BufferDescriptor {
                label: Some("empty"),
                size: 16,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            });
            // Sides as pool::texture gives others.
            Ok((buffer, gpu.create_texture(&texture_descriptor(FLOATS, 3, 3))))
        })?;
        #[cfg(not(target_family = "wasm"))]
        let tuner = options.tuning.as_deref().map(|folder| {
            let kernels = crate::ops::fingerprint();
            Tuner::open(folder, Subject { adapter: adapter::describe(&info), kernels })
        });
        let pipelines = PipelineCache::new(
            options.runtime_checks,
            #[cfg(not(target_family = "wasm"))]
            options.pipeline_cache.as_deref().and_then(|folder| PipelineFile::open(folder, &gpu, &info)),
        );
        let memory = MemoryCount::new(options.memory_budget);
        let inner = Inner {
            id: DeviceId::next(),
            gpu,
            queue,
            info,
            limits,
            lanes,
            precision,
            reads_halves,
            #[cfg(not(target_family = "wasm"))]
            tuner,
            pipelines,
            profile: Profile::default(),
            lent: Pool::counting(memory.nothing(MemoryKind::Scenes), false),
            memory,
            plan_caches: PlanCaches::default(),
            failures,
            empty_buffer,
            empty_texture,
            staging: Mutex::default(),
            uploading: AtomicUsize::new(0),
            created: AtomicUsize::new(0),
            identity: OnceLock::new(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// [`request`](Self::request), waited for.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    #[cfg(not(target_family = "wasm"))]
    pub fn open(options: &DeviceOptions) -> Result<Self> {
        pollster::block_on(Self::request(options))
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
        if self.0.lanes.is_some() { KernelFamily::Subgroup } else { KernelFamily::Classic }
    }

    /// One line for people: name, backend and driver.
    #[must_use]
    pub fn description(&self) -> &str {
        self.0.identity.get_or_init(|| adapter::describe(&self.0.info))
    }

    /// Rows of the largest tensor that the subgroup kernels take: the side of a texture. `None` for the classic ones.
    #[must_use]
    pub fn row_limit(&self) -> Option<usize> {
        self.0.lanes.map(|_| self.0.limits.max_texture_dimension_2d as usize)
    }

    /// Waits until the device has done all that was submitted to it. In a browser it returns at once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device is gone.
    pub fn wait(&self) -> Result<()> {
        self.poll(wgpu::PollType::wait_indefinitely())
    }

    /// As [`wait`](Self::wait), for one submission alone: not for what other threads submitted after it.
    pub(crate) fn wait_for(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        self.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None })
    }

    fn poll(&self, until: wgpu::PollType) -> Result<()> {
        // Polled again, wgpu gives back the memory of a lost device, under the hands of who may still read it.
        self.failures().check()?;
        let polled = self.0.gpu.poll(until).map_err(|error| Error::Device(error.to_string()));
        // A lost device explains why it could not be waited for.
        self.failures().check()?;
        polled.map(|_| ())
    }

    /// Buffers, textures, bind groups and pipelines made on this device so far. A warm run makes none.
    #[must_use]
    pub fn resources_created(&self) -> usize {
        self.0.created.load(Ordering::Relaxed)
    }

    pub(crate) fn count_created(&self) {
        self.0.created.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn create_buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> wgpu::Buffer {
        self.count_created();
        self.0.gpu.create_buffer(descriptor)
    }

    pub(crate) fn create_texture(
        &self,
        format: wgpu::TextureFormat,
        width: u32,
        height: u32,
    ) -> wgpu::Texture {
        self.count_created();
        self.0.gpu.create_texture(&texture_descriptor(format, width, height))
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

    /// Bytes given to the queue by uploads since the last submit on their behalf.
    pub(crate) fn uploading(&self) -> &AtomicUsize {
        &self.0.uploading
    }

    pub(crate) fn lent(&self) -> &SharedPool {
        &self.0.lent
    }

    pub(crate) fn gpu(&self) -> &wgpu::Device {
        &self.0.gpu
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// Lanes of a subgroup, 8 or 16, where the subgroup kernels run.
    pub(crate) fn lanes(&self) -> Option<u32> {
        self.0.lanes
    }

    /// Whether shaders may use subgroup operations, whatever the subgroups' size.
    pub(crate) fn has_subgroups(&self) -> bool {
        self.0.gpu.features().contains(wgpu::Features::SUBGROUP)
    }

    /// Whether shaders may have half-precision floats as a type.
    pub(crate) fn has_halves(&self) -> bool {
        self.0.gpu.features().contains(wgpu::Features::SHADER_F16)
    }

    /// Whether shaders may have the functions that pack and unpack halves: all but llvmpipe on old processors. A kernel that has them
    /// does not compile without.
    pub(crate) fn reads_halves(&self) -> bool {
        self.0.reads_halves
    }

    /// How weights are stored: as [`DeviceOptions::precision`] says, and `F32` where the adapter reads no halves.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// The measured choices of kernels, where the device is to make them.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn tuner(&self) -> Option<&Tuner> {
        self.0.tuner.as_ref()
    }

    pub(crate) fn pipelines(&self) -> &PipelineCache {
        &self.0.pipelines
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.0.profile
    }

    pub(crate) fn memory(&self) -> &MemoryCount {
        &self.0.memory
    }

    /// Stands in for an operand that a kernel's flags leave out.
    pub(crate) fn empty_buffer(&self) -> &wgpu::Buffer {
        &self.0.empty_buffer
    }

    pub(crate) fn empty_texture(&self) -> &wgpu::Texture {
        &self.0.empty_texture
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

/// Four columns of floats a texel: the format of tensors.
pub(crate) const FLOATS: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Float;
/// Eight halves a texel, in pairs: the format of weights that are stored so.
pub(crate) const HALVES: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Uint;

fn texture_descriptor(
    format: wgpu::TextureFormat,
    width: u32,
    height: u32,
) -> wgpu::TextureDescriptor<'static> {
    wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::STORAGE_BINDING
            | wgpu::TextureUsages::COPY_DST
            | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    }
}
