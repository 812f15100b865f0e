//! How a device comes to be: opened on an adapter or the processor, or adopted from a host.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};

use super::{Device, Engine, Inner};
#[cfg(not(target_family = "wasm"))]
use crate::Error;
use crate::adapter::{self, Chosen};
use crate::device_id::DeviceId;
use crate::device_options::DeviceOptions;
use crate::failure::Failures;
use crate::gpu::Gpu;
use crate::memory::{MemoryCount, MemoryKind, PlanCaches};
use crate::pipeline::PipelineCache;
#[cfg(not(target_family = "wasm"))]
use crate::pipeline_file::{OpenStore, PipelineStore};
use crate::pool::Pool;
use crate::profile::Profile;
use crate::step_check::StepChecks;
use crate::{Precision, Result};
#[cfg(feature = "processor")]
use crate::{
    matrix_units,
    processor::{self, Processor},
};

impl Device {
    /// Opens an adapter, or the processor.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when there is none, or none of that name or number; [`Error::Adapter`] when it
    /// gives no device, or lacks what [`DeviceOptions::kernels`], [`DeviceOptions::precision`] or
    /// [`MatrixUnits::Any`](crate::MatrixUnits::Any) insist on, and for a [`PipelineStore::Cache`], which is
    /// its own device's.
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
                matrix_units::check_processor(options)?;
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
    ///   thread that polls or submits; a host's callback may therefore run on a thread that waits here. It
    ///   may [`wait`](Self::wait) itself, but run no plan or model: the work that it interrupts may hold the
    ///   very one. It can wake a thread that does.
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
    /// when it was not opened on `adapter`, lacks what [`DeviceOptions::kernels`],
    /// [`DeviceOptions::precision`] or [`MatrixUnits::Any`](crate::MatrixUnits::Any) insist on, or does not
    /// keep the pipelines of a [`PipelineStore::Cache`]; [`Error::DeviceLost`] when it is lost already.
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
}
