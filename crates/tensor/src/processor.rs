//! The processor as a device: no driver, no environment variables. Its memory, its threads and its products
//! of matrices; [`program`](crate::program) runs recorded plans on it.

pub(crate) mod gemm;
mod memory;
#[cfg_attr(target_family = "wasm", path = "processor/one_thread.rs")]
mod threads;

pub(crate) use gemm::PackedWeight;
pub(crate) use memory::{HostBuffer, Values};
pub(crate) use threads::timed;

use self::threads::Threads;
use crate::Result;

/// The name in reports, by which `AdapterChoice::Name` finds it too.
pub(crate) const NAME: &str = "processor";

/// The largest buffer. It is as large as that of a large GPU, so that work that is split for GPUs is split
/// for the processor too.
const LARGEST_BUFFER: u64 = 1 << 30;

/// The processor of this machine, opened as a device.
pub(crate) struct Processor {
    threads: Threads,
    empty: HostBuffer,
}

impl Processor {
    pub fn open() -> Result<Self> {
        Ok(Self { threads: Threads::new(), empty: HostBuffer::new(16)? })
    }

    /// Stands in for an operand that a kernel's flags leave out.
    pub fn empty(&self) -> &HostBuffer {
        &self.empty
    }

    /// The threads that run its plans.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }
}

/// Describes the processor in the form of an adapter.
pub(crate) fn info() -> wgpu::AdapterInfo {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    wgpu::AdapterInfo {
        name: NAME.to_owned(),
        vendor: 0,
        device: 0,
        device_type: wgpu::DeviceType::Cpu,
        device_pci_bus_id: String::new(),
        driver: "rten-gemm".to_owned(),
        driver_info: format!("{}, {threads} threads", gemm::kernel_name()),
        backend: wgpu::Backend::Noop,
        subgroup_min_size: 1,
        subgroup_max_size: 1,
        transient_saves_memory: None,
        limit_bucket: None,
    }
}

/// The limits of the processor as a device.
pub(crate) fn limits() -> wgpu::Limits {
    wgpu::Limits {
        max_buffer_size: LARGEST_BUFFER,
        max_storage_buffer_binding_size: LARGEST_BUFFER,
        // No step has a grid here.
        max_compute_workgroups_per_dimension: u32::MAX,
        ..wgpu::Limits::default()
    }
}
