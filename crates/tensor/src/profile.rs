//! Time by kernel, from the device's own timestamps, or the processor's clock.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::submitted::Submitted;
use crate::{Cost, Device, Error, Result};

/// What the runs of a kernel on one shape took together while a device was profiling; another shape is one of
/// another cost.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The kernel's name, its file's in `shaders/wgsl/`.
    pub kernel: &'static str,
    /// The cost of each run.
    pub cost: Cost,
    /// How often it ran.
    pub runs: usize,
    /// Seconds from the begin of each run to its end, added up.
    pub seconds: f64,
    /// The same of each run, in the order in which they ran.
    pub each: Vec<f64>,
}

/// A kernel's name and what one run of it costs.
type Kernel = (&'static str, Cost);

/// Where a profiling device keeps its times.
#[derive(Default)]
pub(crate) struct Profile(Mutex<Option<BTreeMap<Kernel, Vec<f64>>>>);

impl Profile {
    pub fn is_on(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub fn add(&self, kernel: Kernel, seconds: f64) {
        if let Some(times) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            times.entry(kernel).or_default().push(seconds);
        }
    }
}

impl Device {
    /// From now on every run of every plan on this device notes what its kernels take, until
    /// [`take_profile`](Self::take_profile). Each kernel then runs in a pass of its own and each run is
    /// waited for, so the whole is slower than without.
    ///
    /// # Errors
    /// [`Error::Device`] when the adapter has no timestamps.
    pub fn start_profile(&self) -> Result<()> {
        if !self.is_processor() && !self.has(wgpu::Features::TIMESTAMP_QUERY) {
            return Err(Error::Device(format!("{} has no timestamps to profile with", self.description())));
        }
        *self.profile().0.lock().unwrap_or_else(PoisonError::into_inner) = Some(BTreeMap::new());
        Ok(())
    }

    /// Ends profiling: the kernels that ran since [`start_profile`](Self::start_profile), the longest first,
    /// each shape by itself.
    #[must_use]
    pub fn take_profile(&self) -> Vec<KernelTime> {
        let times = self.profile().0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut times: Vec<_> = times
            .into_iter()
            .flatten()
            .map(|((kernel, cost), each)| KernelTime {
                kernel,
                cost,
                runs: each.len(),
                seconds: each.iter().sum(),
                each,
            })
            .collect();
        times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        times
    }
}

/// The timestamps of one run of a plan: two per kernel, in the order in which they run.
pub(crate) struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    read_back: wgpu::Buffer,
    kernels: Vec<Kernel>,
}

impl Timestamps {
    /// For a run of these kernels. Beyond what a query set holds the last ones go without.
    pub fn new(device: &Device, kernels: impl Iterator<Item = Kernel>) -> Result<Self> {
        let kernels: Vec<_> = kernels.take(wgpu::QUERY_SET_MAX_QUERIES as usize / 2).collect();
        let count = 2 * kernels.len().max(1) as u32;
        let queries = device.gpu()?.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("profile"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("profile"),
                size: u64::from(count) * 8,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC)?;
        let read_back = buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ)?;
        Ok(Self { queries, resolved, read_back, kernels })
    }

    /// What the pass of the kernel at `index` has to write, if there is room for it.
    pub fn of(&self, index: usize) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        (index < self.kernels.len()).then_some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(2 * index as u32),
            end_of_pass_write_index: Some(2 * index as u32 + 1),
        })
    }

    /// Brings the timestamps to where they can be read, after the last pass.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..2 * self.kernels.len() as u32, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.read_back, 0, self.resolved.size());
    }

    /// Waits for the run and adds its times to the device's profile.
    pub fn collect(self, device: &Device, submission: Submitted) -> Result<()> {
        let second = 1e9 / f64::from(device.gpu()?.queue.get_timestamp_period());
        device.read_now(submission, (&self.read_back, self.read_back.size()), "timestamps", |bytes| {
            let ticks: &[u64] = bytemuck::cast_slice(bytes);
            for (&kernel, ticks) in self.kernels.iter().zip(ticks.chunks_exact(2)) {
                device.profile().add(kernel, ticks[1].saturating_sub(ticks[0]) as f64 / second);
            }
        })
    }
}
