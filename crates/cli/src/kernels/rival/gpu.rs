//! A device for the kernels of others alone.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clipseg::{AdapterReport, wgpu};
use clipseg_files::shown;

use super::facts::facts;
use crate::kernels::layout;

/// A device for shaders of strangers.
pub struct Gpu {
    pub device: wgpu::Device,
    queue: wgpu::Queue,
    facts: layout::Device,
    pub has_clock: bool,
    /// A submission that takes longer is given up, and the device with it.
    longest_wait: Duration,
    is_stuck: Cell<bool>,
    /// What no error scope has caught.
    uncaught: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    /// Opens the adapter of a report, with what WebGPU's kernels may use of it.
    pub fn open(report: &AdapterReport, longest_wait: Duration) -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            flags: wgpu::InstanceFlags::empty().with_env(),
            ..wgpu::InstanceDescriptor::new_without_display_handle_from_env()
        });
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let adapter = adapters.into_iter().find(|adapter| adapter.get_info() == report.info);
        let adapter = adapter.context("the adapter is no longer there")?;
        let wanted = wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY;
        let features = wanted & adapter.features();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("kernels of others"),
            required_features: features,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
        let uncaught = Arc::<Mutex<Option<String>>>::default();
        let keep = Arc::clone(&uncaught);
        // wgpu's own handler panics.
        device.on_uncaptured_error(Arc::new(move |error| {
            keep.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.to_string());
        }));
        let facts = facts(&report.info, features, &device.limits());
        let has_clock = features.contains(wgpu::Features::TIMESTAMP_QUERY);
        Ok(Self { device, queue, facts, has_clock, longest_wait, is_stuck: Cell::new(false), uncaught })
    }

    /// What manifests may know of it.
    pub fn facts(&self) -> &layout::Device {
        &self.facts
    }

    /// Whether something runs on it that does not end. To close it would wait for that.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck.get()
    }

    /// Seconds of so many ticks of its clock.
    pub fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 * f64::from(self.queue.get_timestamp_period()) / 1e9
    }

    /// What `work` gives, if wgpu found no fault with it.
    pub fn guarded<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        ensure!(!self.is_stuck(), "an earlier kernel never ended, so the device runs no other");
        let filters =
            [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation];
        let scopes = filters.map(|filter| self.device.push_error_scope(filter));
        let made = work();
        let mut fault = None;
        // The innermost first.
        for scope in scopes.into_iter().rev() {
            fault = pollster::block_on(scope.pop()).map(|error| error.to_string()).or(fault);
        }
        let uncaught = self.uncaught.lock().unwrap_or_else(PoisonError::into_inner).take();
        match fault.or(uncaught).filter(|_| !self.is_stuck()) {
            None => made,
            Some(fault) => Err(anyhow!("wgpu refuses it: {}", one_line(&fault))),
        }
    }

    /// Submits and waits until it is done.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<()> {
        let submission = self.queue.submit([encoder.finish()]);
        self.wait_for(submission)
    }

    fn wait_for(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        let timeout = Some(self.longest_wait);
        match self.device.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout }) {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => {
                self.is_stuck.set(true);
                bail!("a run did not end within {} s", self.longest_wait.as_secs_f64())
            }
            Err(error) => Err(error).context("the device was lost"),
        }
    }

    /// The bytes of a buffer, of memory that was submitted before.
    pub fn read(&self, buffer: &wgpu::Buffer) -> Result<Vec<u8>> {
        let read_back = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read back"),
            size: buffer.size(),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &read_back, 0, buffer.size());
        let submission = self.queue.submit([encoder.finish()]);
        read_back.map_async(wgpu::MapMode::Read, .., |_| {});
        self.wait_for(submission)?;
        let view =
            read_back.get_mapped_range(..).map_err(|error| anyhow!("reading a result back: {error}"))?;
        Ok(view.to_vec())
    }
}

/// An error of wgpu, whose text has lines and a picture of the source, on one line.
fn one_line(text: &str) -> String {
    shown(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
