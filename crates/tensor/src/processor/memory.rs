//! Host memory as the buffers of the processor device.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::gemm::PackedWeight;
use crate::{Error, Result};

/// A buffer in host memory. A clone is the same memory.
///
/// Taking the locks of several buffers cannot deadlock: a step of a plan locks its inputs for reading and its
/// output for writing, plans take turns with their own buffers, and weights are written once.
#[derive(Clone)]
pub(crate) struct HostBuffer(Arc<RwLock<Values>>);

/// What a buffer holds.
pub(crate) enum Values {
    /// Words of 32 bits: floats, integers, or two f16 values each.
    Words(Vec<u32>),
    /// A weight in the order in which products read it.
    Weight(PackedWeight),
}

impl PartialEq for HostBuffer {
    /// Whether they are the same memory.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl HostBuffer {
    /// `bytes` of zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the system does not give so many.
    pub fn new(bytes: u64) -> Result<Self> {
        let words = usize::try_from(bytes.div_ceil(4)).unwrap_or(usize::MAX);
        // `vec!` aborts the process where memory is short, so ask first.
        Vec::<u32>::new()
            .try_reserve_exact(words)
            .map_err(|error| Error::OutOfMemory(format!("{bytes} bytes of host memory: {error}")))?;
        Ok(Self::of(Values::Words(vec![0; words])))
    }

    /// A weight.
    pub fn weight(weight: PackedWeight) -> Self {
        Self::of(Values::Weight(weight))
    }

    fn of(values: Values) -> Self {
        Self(Arc::new(RwLock::new(values)))
    }

    /// Locks the content for reading. A poisoned lock does no harm: a panic may leave the buffer half
    /// written, but the next step that writes it writes all of it.
    pub fn read(&self) -> RwLockReadGuard<'_, Values> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the content for writing.
    pub fn write(&self) -> RwLockWriteGuard<'_, Values> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills the first bytes.
    ///
    /// # Errors
    /// As [`Values::bytes_mut`].
    pub fn fill(&self, bytes: &[u8]) -> Result<()> {
        self.write().bytes_mut()?[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl Values {
    /// The words.
    ///
    /// # Errors
    /// [`Error::Device`] for a packed weight, which products alone can read.
    pub fn words(&self) -> Result<&[u32]> {
        match self {
            Self::Words(words) => Ok(words),
            Self::Weight(_) => Err(packed()),
        }
    }

    /// The bytes, to be changed.
    ///
    /// # Errors
    /// As [`words`](Self::words).
    pub fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        match self {
            Self::Words(words) => Ok(bytemuck::cast_slice_mut(words)),
            Self::Weight(_) => Err(packed()),
        }
    }

    /// The floats in the first bytes, to be changed.
    ///
    /// # Errors
    /// As [`words`](Self::words).
    pub fn floats_mut(&mut self, bytes: usize) -> Result<&mut [f32]> {
        let all = self.bytes_mut()?;
        let length = bytes.min(all.len());
        Ok(bytemuck::cast_slice_mut(&mut all[..length]))
    }
}

fn packed() -> Error {
    Error::Device("a weight that was packed for products is read as plain values".to_owned())
}
