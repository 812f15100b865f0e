//! Error scopes around each piece of work, so that a failure reaches its own thread; and the loss of the
//! device.

#[cfg(any(test, feature = "faults"))]
pub mod faults;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::submitted::Submitted;
use crate::{Device, Error, Result};

/// The failures of a device that belong to no single caller.
#[derive(Default)]
pub(crate) struct Failures {
    /// Why the device was lost. A lost device stays lost.
    lost: OnceLock<String>,
    /// Whether the device is a host's, whose handlers of errors and of loss are its own.
    is_hosts: bool,
    /// Locked for reading while a buffer is mapped: destroying the device would free the mapped memory.
    mapping: RwLock<()>,
    /// An error that a browser reported. An error scope answers too late there, but as there is only one
    /// thread, it is clear whose failure it is.
    #[cfg(target_family = "wasm")]
    reported: std::sync::Mutex<Option<Error>>,
}

impl Failures {
    /// Starts to record the failures of `gpu`.
    pub fn of(gpu: &wgpu::Device) -> Arc<Self> {
        let failures = Arc::new(Self::default());
        let of_device = Arc::clone(&failures);
        gpu.set_device_lost_callback(move |reason, message| {
            // Later reasons follow from the first one.
            if of_device.lost.set(format!("{reason:?}: {message}")).is_ok() {
                log::error!("device lost ({reason:?}): {message}");
            }
        });
        #[cfg(target_family = "wasm")]
        let of_device = Arc::clone(&failures);
        // Without a handler of ours wgpu would panic.
        gpu.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            log::error!("outside any scope: {error}");
            #[cfg(target_family = "wasm")]
            if let Ok(mut reported) = of_device.reported.lock() {
                reported.get_or_insert(error.into());
            }
        }));
        failures
    }

    /// The failures of a host's device, which keeps its host's handlers.
    pub fn of_a_host() -> Self {
        Self { is_hosts: true, ..Self::default() }
    }

    /// Whether the device is a host's.
    pub fn is_of_a_host(&self) -> bool {
        self.is_hosts
    }

    /// Whether the device can still be used.
    pub fn check(&self) -> Result<()> {
        if let Some(reason) = self.lost.get() {
            return Err(Error::DeviceLost(reason.clone()));
        }
        #[cfg(target_family = "wasm")]
        if let Some(error) = self.reported.lock().ok().and_then(|mut reported| reported.take()) {
            return Err(error);
        }
        Ok(())
    }

    /// Runs `work` on `gpu` and returns its own failure, never that of another thread's work: wgpu keeps
    /// error scopes per thread. Resources made by work that failed may be unusable; drop them.
    pub fn guard<T>(&self, gpu: &wgpu::Device, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check()?;
        #[cfg(any(test, feature = "faults"))]
        let fault = faults::next(|| self.destroy(gpu));
        #[cfg(not(any(test, feature = "faults")))]
        let fault = None;
        #[cfg(not(target_family = "wasm"))]
        let scopes = Scopes::push(gpu);
        #[cfg(target_family = "wasm")]
        let _: Option<wgpu::Error> = fault;
        let result = work();
        #[cfg(not(target_family = "wasm"))]
        let failure = fault.or(scopes.pop());
        // A loss explains whatever else went wrong.
        self.look(gpu)?;
        #[cfg(not(target_family = "wasm"))]
        if let Some(error) = failure {
            return Err(error.into());
        }
        result
    }

    /// Finds out whether the device can still be used. wgpu tells only the host's handler of the loss of a
    /// host's device, so the loss is probed for: on a lost device, a buffer that is created mapped is not
    /// mapped.
    pub fn look(&self, gpu: &wgpu::Device) -> Result<()> {
        self.check()?;
        #[cfg(not(target_family = "wasm"))]
        if self.is_hosts {
            let scopes = Scopes::push(gpu);
            let buffer = gpu.create_buffer(&wgpu::BufferDescriptor {
                label: Some("is the device there"),
                size: 4,
                usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            });
            let is_mapped = buffer.get_mapped_range(..).is_ok();
            // On a device that still exists mapping fails only for want of memory, which a scope catches.
            let has_failed = scopes.pop().is_some();
            if !is_mapped && !has_failed {
                self.lose("its host lost it");
                return self.check();
            }
        }
        #[cfg(target_family = "wasm")]
        let _ = gpu;
        Ok(())
    }

    /// As [`guard`](Self::guard), on the processor, which returns its failures where they happen.
    fn guard_processor<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check()?;
        #[cfg(any(test, feature = "faults"))]
        if let Some(fault) = faults::next(|| self.lose("it was destroyed")) {
            return work().and(Err(fault.into()));
        }
        #[cfg(any(test, feature = "faults"))]
        self.check()?;
        work()
    }

    /// Calls `read`, which reads mapped memory and unmaps it. The device is not destroyed meanwhile.
    pub fn read_mapped<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let _mapped = self.mapping.read().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        read()
    }

    /// An error for `reason`, or the loss of the device, which explains everything else.
    pub fn failed(&self, reason: String) -> Error {
        self.check().err().unwrap_or(Error::Device(reason))
    }

    /// Marks the device as lost, unless it already is.
    fn lose(&self, reason: &str) {
        // Later reasons follow from the first one.
        let _ = self.lost.set(reason.to_owned());
    }

    /// Destroys `gpu` and marks it as lost. A host's device is only marked: it is lost for the engine alone.
    fn destroy(&self, gpu: &wgpu::Device) {
        self.lose("it was destroyed");
        if self.is_hosts {
            return;
        }
        // Readers that come now find the device lost and map nothing; this waits for those that have a buffer
        // mapped.
        let mapping = self.mapping.write().unwrap_or_else(PoisonError::into_inner);
        gpu.destroy();
        drop(mapping);
        // wgpu frees the memory only when it is polled.
        let _ = gpu.poll(wgpu::PollType::wait_indefinitely());
    }
}

/// A scope for errors of every kind.
#[cfg(not(target_family = "wasm"))]
struct Scopes([wgpu::ErrorScopeGuard; 3]);

#[cfg(not(target_family = "wasm"))]
impl Scopes {
    fn push(gpu: &wgpu::Device) -> Self {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        Self([Internal, Validation, OutOfMemory].map(|filter| gpu.push_error_scope(filter)))
    }

    /// The error that happened within. Scopes are nested, so the last one is popped first: out of memory,
    /// which takes precedence over the errors that follow from it. All are popped, as wgpu panics where one
    /// is left to be dropped before those within it.
    fn pop(self) -> Option<wgpu::Error> {
        let Self(scopes) = self;
        scopes.into_iter().rev().fold(None, |failure, scope| {
            let of_scope = pollster::block_on(scope.pop());
            failure.or(of_scope)
        })
    }
}

impl Device {
    /// As [`Failures::guard`], on this device.
    pub(crate) fn guard<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.gpu() {
            Ok(gpu) => self.failures().guard(&gpu.device, work),
            Err(_) => self.failures().guard_processor(work),
        }
    }

    /// Submits `commands`. wgpu calls the callbacks of a host meanwhile that are due, so they are called
    /// before: an error of theirs is not to be taken for one of the engine's.
    pub(crate) fn submit(
        &self,
        commands: impl IntoIterator<Item = wgpu::CommandBuffer>,
    ) -> Result<Submitted> {
        let gpu = self.gpu()?;
        gpu.call_back()?;
        self.guard(|| Ok(gpu.submit(commands)))
    }

    /// Frees all memory on the device once it has done the work submitted to it, even while tensors, plans
    /// and models are still there. To those the device is lost: each later use fails with
    /// [`Error::DeviceLost`]. Dropping all of them frees the memory too, without such errors.
    ///
    /// A device that came from [`from_wgpu`](Self::from_wgpu) stays its host's: it is lost for the engine
    /// alone, and the memory of tensors, plans and models is freed when they are dropped.
    pub fn destroy(&self) {
        match self.gpu() {
            Ok(gpu) => self.failures().destroy(&gpu.device),
            Err(_) => self.failures().lose("it was destroyed"),
        }
        self.trim();
    }
}

impl From<wgpu::Error> for Error {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory(error.to_string()),
            wgpu::Error::Validation { .. } | wgpu::Error::Internal { .. } => Self::Device(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
