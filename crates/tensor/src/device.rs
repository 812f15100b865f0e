mod opening;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::adapter::{self, AdapterReport, KernelFamily};
use crate::buffer::Buffer;
use crate::device_id::DeviceId;
use crate::failure::Failures;
use crate::gpu::Gpu;
use crate::matrix_units::MatrixSize;
use crate::memory::{MemoryCount, PlanCaches};
use crate::pipeline::PipelineCache;
use crate::pool::SharedPool;
#[cfg(feature = "processor")]
use crate::processor::Processor;
use crate::profile::Profile;
use crate::staging::Staging;
use crate::step_check::StepChecks;
use crate::texture::texture_descriptor;
use crate::{Error, Precision, Result};

/// An open adapter with its pipelines: what every tensor and plan lives on. Cloning is cheap and shares all
/// of it.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

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

    /// What [`adapters`](crate::adapters) lists of the adapter that the device was opened on; `None` where it
    /// is no longer there.
    pub async fn adapter_report(&self) -> Option<AdapterReport> {
        let reports = adapter::adapters().await;
        reports.into_iter().find(|report| adapter::describe(&report.info) == self.description())
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
        Ok(self.gpu()?.device.create_texture(&texture_descriptor(format, width, height)))
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

    /// The memory of dropped tensors, but for what a host's commands may still use.
    pub(crate) fn recycled(&self) -> &SharedPool {
        if let Ok(gpu) = self.gpu() {
            gpu.unsubmitted.clear();
        }
        &self.0.recycled
    }

    /// Whether it submits runs in parts.
    pub(crate) fn is_paced(&self) -> bool {
        #[cfg(not(target_family = "wasm"))]
        return self.gpu().is_ok_and(|gpu| gpu.pacer.is_some());
        #[cfg(target_family = "wasm")]
        return false;
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

    /// What weights are rounded to: as [`DeviceOptions::precision`](crate::DeviceOptions::precision) says,
    /// and `F32` where the adapter reads no f16 values. They are stored so too, but for the processor, which
    /// stores f32.
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
            Engine::Processor(processor) => Buffer::Host(processor.empty().clone()),
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
