//! What a wgpu device has and the processor does not: queue, pipelines, features.

#[cfg(not(target_family = "wasm"))]
use std::iter;
#[cfg(not(target_family = "wasm"))]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(not(target_family = "wasm"))]
use clipseg_shaders::kernels;

use crate::adapter;
#[cfg(not(target_family = "wasm"))]
use crate::cache_file::fingerprint;
use crate::commands::Unsubmitted;
use crate::device_options::DeviceOptions;
use crate::failure::Failures;
use crate::matrix_units::{self, MatrixSize};
#[cfg(not(target_family = "wasm"))]
use crate::pacer::Pacer;
use crate::requirements;
use crate::submitted::Submitted;
use crate::texture::{F32_TEXELS, texture_descriptor};
#[cfg(not(target_family = "wasm"))]
use crate::tuner::{self, Subject, Tuner};
#[cfg(not(target_family = "wasm"))]
use crate::waiting::{Waited, Waiter};
use crate::{Error, Precision, Result};

/// An opened adapter of a driver.
pub(crate) struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub failures: Arc<Failures>,
    /// Whether the device is a host's, which submits to the queue too.
    pub is_hosts: bool,
    /// Lanes of a subgroup, 8 or 16, where the subgroup kernels run.
    pub lanes: Option<u32>,
    /// Whether shaders may call the functions that pack and unpack f16 values: everywhere but on llvmpipe on
    /// old processors, where a kernel that calls them does not compile.
    pub supports_unpack2x16float: bool,
    /// The matrices that the kernels on matrix units multiply, where these kernels are on.
    pub matrix_units: Option<MatrixSize>,
    /// Bound in place of operands that a kernel's flags leave out.
    pub empty_buffer: wgpu::Buffer,
    pub empty_texture: wgpu::Texture,
    /// Bytes that uploads have written to the queue since they last submitted.
    pub uploading: AtomicUsize,
    /// The latest submissions: of threads that submit at the same time one each.
    latest: Mutex<Vec<Latest>>,
    /// Counts the begins and ends of submissions.
    clock: AtomicUsize,
    /// What a host may yet submit.
    pub unsubmitted: Unsubmitted,
    /// The number of submissions so far.
    pub submissions: AtomicUsize,
    /// Submits long work in parts, where the options ask for it.
    #[cfg(not(target_family = "wasm"))]
    pub pacer: Option<Pacer>,
    /// Waits on behalf of futures.
    #[cfg(not(target_family = "wasm"))]
    waiter: Waiter,
    /// The measured choices of kernels, where the options ask for them.
    #[cfg(not(target_family = "wasm"))]
    pub tuner: Option<Tuner>,
}

/// A submission, and what the clock said when it had been handed over.
struct Latest {
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "a browser cannot wait"))]
    submitted: Submitted,
    ended: usize,
}

impl Gpu {
    /// Opens `adapter`.
    ///
    /// # Errors
    /// [`Error::Adapter`] when it gives no device, or lacks what the options insist on.
    pub async fn open(adapter: &wgpu::Adapter, options: &DeviceOptions) -> Result<Self> {
        let mut features = requirements::USED;
        #[cfg(not(target_family = "wasm"))]
        features.set(wgpu::Features::PIPELINE_CACHE, options.pipeline_cache.is_some());
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if matrix_units::wanted(adapter, options.matrix_units).is_some() {
            features |= matrix_units::features();
            // SAFETY: wgpu asks for an acknowledgement that experimental features may be unsound. The only
            // one requested here is cooperative matrices: the caller asked for it, and the kernels that use
            // it stay within their memory.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let opened = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("clipseg"),
                required_features: features & adapter.features(),
                required_limits: adapter.limits(),
                experimental_features,
                ..Default::default()
            })
            .await;
        let (device, queue) = opened.map_err(|error| Error::Adapter {
            adapter: adapter.get_info().name,
            reason: error.to_string(),
        })?;
        let failures = Failures::of(&device);
        Self::new(adapter, device, queue, failures, options)
    }

    /// Takes a device and its queue that a host opened on `adapter`. The host's handlers stay its own.
    ///
    /// # Errors
    /// [`Error::Limits`] when the device's limits are too low, [`Error::Adapter`] when it was opened on
    /// another adapter or lacks what the options insist on, [`Error::DeviceLost`] when it is already lost.
    pub fn adopt(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: &DeviceOptions,
    ) -> Result<Self> {
        let info = device.adapter_info();
        if info != adapter.get_info() {
            let reason = format!(
                "the device was opened on another one, {}; give the adapter whose `request_device` gave the device",
                adapter::describe(&info)
            );
            return Err(Error::Adapter { adapter: adapter.get_info().name, reason });
        }
        requirements::check(&info, &device.limits())?;
        Self::new(adapter, device, queue, Arc::new(Failures::of_a_host()), options)
    }

    fn new(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        failures: Arc<Failures>,
        options: &DeviceOptions,
    ) -> Result<Self> {
        let info = device.adapter_info();
        let failed = |reason: String| Error::Adapter { adapter: info.name.clone(), reason };
        let lanes = adapter::subgroup_lanes(&info, device.features(), options.kernels).map_err(failed)?;
        let downlevel = adapter.get_downlevel_capabilities().flags;
        if !downlevel.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
            return Err(failed("it has no compute shaders; take another adapter".to_owned()));
        }
        let supports_unpack2x16float = downlevel.contains(wgpu::DownlevelFlags::SHADER_F16_IN_F32);
        if options.precision == Precision::F16 && !supports_unpack2x16float {
            return Err(failed("its shaders cannot read half-precision floats; take f32".to_owned()));
        }
        let matrix_units = matrix_units::choose(adapter, &device, options, lanes)?;
        let (empty_buffer, empty_texture) = failures.guard(&device, || {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("empty"),
                size: 16,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            });
            // No power of two, like the sides of the pool's textures.
            Ok((buffer, device.create_texture(&texture_descriptor(F32_TEXELS, 3, 3))))
        })?;
        #[cfg(not(target_family = "wasm"))]
        let tuner = options.tuning.as_deref().map(|folder| {
            let texts = kernels::ALL.iter().map(|kernel| kernel.source);
            let kernels = fingerprint(iter::once(tuner::FORMAT).chain(texts));
            Tuner::open(folder, Subject { adapter: adapter::describe(&info), kernels })
        });
        Ok(Self {
            device,
            queue,
            is_hosts: failures.is_of_a_host(),
            failures,
            lanes,
            supports_unpack2x16float,
            matrix_units,
            empty_buffer,
            empty_texture,
            uploading: AtomicUsize::new(0),
            latest: Mutex::default(),
            clock: AtomicUsize::new(0),
            unsubmitted: Unsubmitted::default(),
            submissions: AtomicUsize::new(0),
            #[cfg(not(target_family = "wasm"))]
            pacer: options.longest_submission.map(Pacer::new),
            #[cfg(not(target_family = "wasm"))]
            waiter: Waiter::default(),
            #[cfg(not(target_family = "wasm"))]
            tuner,
        })
    }

    /// Whether the device was opened with all of `features`.
    pub fn has(&self, features: wgpu::Features) -> bool {
        self.device.features().contains(features)
    }

    /// Whether a run's own commands have to fill its inputs, as a write through the queue might go with
    /// another submission: the host submits in between, or the run is submitted later.
    pub fn submits_later(&self) -> bool {
        #[cfg(not(target_family = "wasm"))]
        let is_paced = self.pacer.is_some();
        #[cfg(target_family = "wasm")]
        let is_paced = false;
        self.is_hosts || is_paced
    }

    /// Submits to the queue. Everything that the engine submits goes through here, so that the engine can
    /// wait for its own work and nothing else.
    pub fn submit(&self, commands: impl IntoIterator<Item = wgpu::CommandBuffer>) -> Submitted {
        self.submissions.fetch_add(1, Ordering::Relaxed);
        let began = self.clock.fetch_add(1, Ordering::SeqCst);
        // The lock is not held: a host's callbacks, which wgpu calls meanwhile, may wait for the engine.
        let submitted = self.hand_over(commands);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        // What had been handed over before this began lies before it in the queue.
        latest.retain(|other| other.ended > began);
        let ended = self.clock.fetch_add(1, Ordering::SeqCst);
        latest.push(Latest { submitted: submitted.clone(), ended });
        submitted
    }

    /// Lets a host's callbacks run that are due, where their errors are the host's.
    pub fn call_back(&self) -> Result<()> {
        #[cfg(not(target_family = "wasm"))]
        if self.is_hosts {
            return self.waited().call_back();
        }
        Ok(())
    }

    /// A place in the queue that can be waited for: that all before it is done.
    #[cfg(not(target_family = "wasm"))]
    pub fn mark(&self) -> Submitted {
        self.hand_over([])
    }

    fn hand_over(&self, commands: impl IntoIterator<Item = wgpu::CommandBuffer>) -> Submitted {
        #[cfg(not(target_family = "wasm"))]
        {
            let index = self.queue.submit(commands);
            let is_done = self.is_hosts.then(Arc::<AtomicBool>::default);
            if let Some(is_done) = &is_done {
                let is_done = Arc::clone(is_done);
                self.queue.on_submitted_work_done(move || is_done.store(true, Ordering::Release));
            }
            Submitted { index, is_done }
        }
        #[cfg(target_family = "wasm")]
        {
            self.queue.submit(commands);
            Submitted {}
        }
    }

    /// Waits until all that was submitted here is done. A browser cannot wait.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device is gone.
    pub fn wait(&self) -> Result<()> {
        #[cfg(not(target_family = "wasm"))]
        {
            // The lock is not held while this waits: others submit meanwhile, and so may a host's callbacks.
            let latest: Vec<_> = {
                let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
                latest.iter().map(|latest| latest.submitted.clone()).collect()
            };
            latest.iter().try_for_each(|submitted| self.waited().wait_for_last(submitted))?;
        }
        self.failures.look(&self.device)
    }

    /// Waits for this work, and for nothing that was submitted later. A browser cannot wait.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device is gone.
    pub fn wait_for(&self, submitted: &Submitted) -> Result<()> {
        #[cfg(not(target_family = "wasm"))]
        return self.waited().wait_for(submitted);
        #[cfg(target_family = "wasm")]
        return self.failures.check().map(|()| drop(submitted.clone()));
    }

    /// A future that is ready when the work is done, and does not block the thread that awaits it. A browser
    /// calls back by itself.
    pub fn done(&self, submitted: Submitted) -> impl Future<Output = Result<()>> + use<> {
        #[cfg(not(target_family = "wasm"))]
        return self.waiter.wait_for(self.waited(), submitted);
        #[cfg(target_family = "wasm")]
        return std::future::ready(self.failures.check().map(|()| drop(submitted)));
    }

    #[cfg(not(target_family = "wasm"))]
    fn waited(&self) -> Waited {
        Waited { device: self.device.clone(), failures: Arc::clone(&self.failures) }
    }
}
