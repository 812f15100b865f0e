//! Staging buffers, through which results are read back.

use std::sync::{MutexGuard, PoisonError};

use crate::memory::{Counted, MemoryKind};
use crate::submitted::Submitted;
use crate::{Device, Result};

/// A buffer to read back through.
pub(crate) struct Staging {
    pub buffer: wgpu::Buffer,
    _bytes: Counted,
}

impl Device {
    /// A buffer to read back through, of at least `bytes`. Return it with [`Self::return_staging`] after a
    /// read-back that succeeded, and only then: a buffer that may still be mapped, or whose memory was never
    /// made, would make the next read-back fail.
    pub(crate) fn staging(&self, bytes: u64) -> Result<Staging> {
        let mut free = self.free();
        let fitting = free
            .iter()
            .enumerate()
            .filter(|(_, staging)| staging.buffer.size() >= bytes)
            .min_by_key(|(_, staging)| staging.buffer.size())
            .map(|(index, _)| index);
        if let Some(index) = fitting {
            return Ok(free.swap_remove(index));
        }
        drop(free);
        let descriptor = wgpu::BufferDescriptor {
            label: Some("read back"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let counted = self.make_room(|| self.memory().bytes(MemoryKind::ReadBack, bytes))?;
        Ok(Staging { buffer: self.guard(|| self.create_buffer(&descriptor))?, _bytes: counted })
    }

    pub(crate) fn return_staging(&self, staging: Staging) {
        self.free().push(staging);
    }

    /// Waits for `submission`, and reads the first `bytes` of a buffer that can be mapped. `what` names the
    /// buffer in errors.
    pub(crate) fn read_now<T>(
        &self,
        submission: Submitted,
        (buffer, bytes): (&wgpu::Buffer, u64),
        what: &str,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        let failed = |error: String| self.failures().failed(format!("reading {what}: {error}"));
        let (sender, receiver) = std::sync::mpsc::channel();
        self.guard(|| {
            buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
                // The receiver is gone only if waiting has failed.
                let _ = sender.send(result);
            });
            Ok(())
        })?;
        self.gpu()?.wait_for(&submission)?;
        // Wait for the callback too: it may be running on another thread that polled. A browser cannot wait,
        // so there it may not have come yet.
        #[cfg(not(target_family = "wasm"))]
        let mapped = receiver.recv().map_err(|error| failed(error.to_string()))?;
        #[cfg(target_family = "wasm")]
        let mapped = receiver.try_recv().map_err(|error| failed(error.to_string()))?;
        mapped.map_err(|error| failed(error.to_string()))?;
        self.failures().read_mapped(|| {
            let view = buffer.get_mapped_range(..bytes).map_err(|error| failed(error.to_string()))?;
            let result = read(&view);
            drop(view);
            buffer.unmap();
            Ok(result)
        })
    }

    /// Frees the buffers that are not in use.
    pub(crate) fn trim_staging(&self) {
        self.free().clear();
    }

    fn free(&self) -> MutexGuard<'_, Vec<Staging>> {
        self.free_staging().lock().unwrap_or_else(PoisonError::into_inner)
    }
}
