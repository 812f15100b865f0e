//! Linear memory of a device, whichever kind of device it is.

#[cfg(feature = "processor")]
use crate::Error;
#[cfg(feature = "processor")]
use crate::processor::HostBuffer;
use crate::{Device, Result};

/// Memory that tensors lie in. A clone is the same memory.
#[derive(Clone, PartialEq)]
pub(crate) enum Buffer {
    Gpu(wgpu::Buffer),
    #[cfg(feature = "processor")]
    Host(HostBuffer),
}

impl Buffer {
    /// Allocates `bytes`, a multiple of four. Fails where memory is short, instead of giving a buffer without
    /// memory.
    pub fn new(device: &Device, bytes: u64) -> Result<Self> {
        #[cfg(feature = "processor")]
        if device.processor().is_some() {
            device.count_created();
            return device.guard(|| HostBuffer::new(bytes).map(Self::Host));
        }
        let descriptor = wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        };
        device.guard(|| Ok(Self::Gpu(device.create_buffer(&descriptor)?)))
    }

    /// The buffer of a wgpu device.
    pub fn gpu(&self) -> Result<&wgpu::Buffer> {
        match self {
            Self::Gpu(buffer) => Ok(buffer),
            #[cfg(feature = "processor")]
            Self::Host(_) => Err(Error::OtherDevice { what: "a buffer of the processor's".to_owned() }),
        }
    }

    /// The memory of the processor device.
    #[cfg(feature = "processor")]
    pub fn host(&self) -> Result<&HostBuffer> {
        match self {
            Self::Host(buffer) => Ok(buffer),
            Self::Gpu(_) => Err(Error::OtherDevice { what: "a buffer of a GPU's".to_owned() }),
        }
    }
}
