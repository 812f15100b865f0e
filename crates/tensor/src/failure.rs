//! Error scopes around each piece of work, so that a failure reaches its own thread; and the loss of the
//! device.

#[cfg(any(test, feature = "faults"))]
pub mod faults;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::{Device, Error, Result};

/// The failures of a device that no single caller is to blame for.
#[derive(Default)]
pub(crate) struct Failures {
    /// Why the device was lost. Once lost it stays so.
    lost: OnceLock<String>,
    /// Whether the device is a host's, whose handlers are not ours.
    is_hosts: bool,
    /// Held for reading while a buffer is mapped, whose memory goes when the device is destroyed.
    mapping: RwLock<()>,
    /// What a browser reported: there an error scope answers only later, and there is one thread alone whose
    /// failure it can be.
    #[cfg(target_family = "wasm")]
    reported: std::sync::Mutex<Option<Error>>,
}

impl Failures {
    /// The failures of `gpu`, from now on.
    pub fn of(gpu: &wgpu::Device) -> Arc<Self> {
        let failures = Arc::new(Self::default());
        let of_device = Arc::clone(&failures);
        gpu.set_device_lost_callback(move |reason, message| {
            // The first reason is the one that the others follow from.
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

    /// Those of a device whose handlers are its host's.
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

    /// Does a piece of work on `gpu` and gives its failure alone, whatever other threads do meanwhile: wgpu
    /// keeps scopes per thread. What was made in work that failed may be unusable: drop it.
    pub fn guard<T>(&self, gpu: &wgpu::Device, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check()?;
        #[cfg(any(test, feature = "faults"))]
        let fault = faults::next(|| self.destroy(gpu));
        #[cfg(not(any(test, feature = "faults")))]
        let fault = None;
        #[cfg(not(target_family = "wasm"))]
        let scopes = {
            use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
            [Internal, Validation, OutOfMemory].map(|filter| gpu.push_error_scope(filter))
        };
        #[cfg(target_family = "wasm")]
        let _: Option<wgpu::Error> = fault;
        let result = work();
        #[cfg(not(target_family = "wasm"))]
        // The last one first, as they are nested. Out of memory outdoes what follows from it.
        let failure = scopes.into_iter().rev().fold(fault, |failure, scope| {
            let of_scope = pollster::block_on(scope.pop());
            failure.or(of_scope)
        });
        // A loss explains whatever else went wrong.
        self.look(gpu)?;
        #[cfg(not(target_family = "wasm"))]
        if let Some(error) = failure {
            return Err(error.into());
        }
        result
    }

    /// Finds out whether the device can still be used. The host's handler, where there is one, is the only
    /// one that wgpu tells of a loss; but a buffer that was asked for as mapped is not mapped on a lost
    /// device.
    pub fn look(&self, gpu: &wgpu::Device) -> Result<()> {
        self.check()?;
        #[cfg(not(target_family = "wasm"))]
        if self.is_hosts {
            use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
            let scopes = [Internal, Validation, OutOfMemory].map(|filter| gpu.push_error_scope(filter));
            let buffer = gpu.create_buffer(&wgpu::BufferDescriptor {
                label: Some("is the device there"),
                size: 4,
                usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            });
            let is_mapped = buffer.get_mapped_range(..).is_ok();
            // Of a device that is there, only for want of memory.
            let has_failed = scopes.into_iter().rev().any(|scope| pollster::block_on(scope.pop()).is_some());
            if !is_mapped && !has_failed {
                self.lose("its host lost it");
                return self.check();
            }
        }
        #[cfg(target_family = "wasm")]
        let _ = gpu;
        Ok(())
    }

    /// As [`guard`](Self::guard), on the processor, which tells its failures where they happen.
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

    /// Reads what is mapped, unmapping included. The device is not destroyed meanwhile.
    pub fn read_mapped<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let _mapped = self.mapping.read().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        read()
    }

    /// Says what went wrong as `reason`, unless the device was lost, which explains it.
    pub fn failed(&self, reason: String) -> Error {
        self.check().err().unwrap_or(Error::Device(reason))
    }

    /// The device is lost from now on, if it was not before.
    fn lose(&self, reason: &str) {
        // The first reason is the one that the others follow from.
        let _ = self.lost.set(reason.to_owned());
    }

    /// Destroys `gpu`, which is lost from now on; a host's is lost for the engine alone.
    fn destroy(&self, gpu: &wgpu::Device) {
        self.lose("it was destroyed");
        if self.is_hosts {
            return;
        }
        // Who comes after this finds the device lost and maps nothing; who maps something now is waited for.
        let mapping = self.mapping.write().unwrap_or_else(PoisonError::into_inner);
        gpu.destroy();
        drop(mapping);
        // Only then is the memory given back.
        let _ = gpu.poll(wgpu::PollType::wait_indefinitely());
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

    /// Gives back all that is on the device, when it has done what it was given, whoever still has tensors,
    /// plans or models there. To all of them the device is lost from now on: whatever they do with it is
    /// answered with [`Error::DeviceLost`]. Dropping all of them does the same without their noticing.
    ///
    /// A device that came from [`from_wgpu`](Self::from_wgpu) stays its host's: it is lost for the engine
    /// alone, and what tensors, plans and models have there goes when they are dropped.
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
