//! Times the kernels that measure the peak rates.

use std::borrow::Cow;

use bytemuck::{Pod, Zeroable};

use crate::submitted::Submitted;
use crate::{Device, Result};

/// The least time that a measurement should take, in seconds, so that the resolution of the clock does not
/// matter.
const LEAST_SECONDS: f64 = 2e-3;
/// Repetitions of a measurement. The shortest one counts, as disturbances only ever add time.
const RUNS: usize = 5;
/// The most rounds that are tried: if a kernel is still too short then, a compiler has removed its work.
const MOST_ROUNDS: u32 = 1 << 24;

/// The kernels' parameters: the rounds, and two words whose meaning depends on the kernel.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    rounds: u32,
    others: [u32; 2],
    padding: u32,
}

impl Params {
    /// For a kernel that computes.
    pub fn numbers(factor: f32, summand: f32) -> Self {
        Self { rounds: 1, others: [factor.to_bits(), summand.to_bits()], padding: 0 }
    }

    /// For a kernel that reads or writes `vectors` with `threads`.
    pub fn memory(vectors: u32, threads: u32) -> Self {
        Self { rounds: 1, others: [vectors, threads], padding: 0 }
    }
}

/// A compiled kernel with its buffers and a clock.
pub(super) struct Bench<'a> {
    device: &'a Device,
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    params: wgpu::Buffer,
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    read_back: wgpu::Buffer,
}

impl<'a> Bench<'a> {
    /// Compiles a kernel, with an output of `bytes` and, where the kernel has one, an input of as many.
    pub fn new(device: &'a Device, source: &str, bytes: u64) -> Result<Self> {
        device.guard(|| {
            let gpu = &device.gpu()?.device;
            let module = gpu.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("peaks"),
                source: wgpu::ShaderSource::Wgsl(Cow::Borrowed(source)),
            });
            let pipeline = gpu.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("peaks"),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            });
            let buffer = |size, usage| {
                let descriptor =
                    wgpu::BufferDescriptor { label: Some("peaks"), size, usage, mapped_at_creation: false };
                device.create_buffer(&descriptor)
            };
            let params = buffer(
                size_of::<Params>() as u64,
                wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            )?;
            let output = buffer(bytes, wgpu::BufferUsages::STORAGE)?;
            let input = buffer(bytes, wgpu::BufferUsages::STORAGE)?;
            let resources = [("params", &params), ("output", &output), ("input", &input)];
            let entries: Vec<_> = resources
                .into_iter()
                .enumerate()
                .filter(|(_, (name, _))| source.contains(&format!("> {name}:")))
                .map(|(binding, (_, buffer))| wgpu::BindGroupEntry {
                    binding: binding as u32,
                    resource: buffer.as_entire_binding(),
                })
                .collect();
            let bindings = gpu.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("peaks"),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            let queries = gpu.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("peaks"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            });
            let resolved = buffer(16, wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC)?;
            let read_back = buffer(16, wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ)?;
            Ok(Self { device, pipeline, bindings, params, queries, resolved, read_back })
        })
    }

    /// Seconds per round of the kernel: the best of several measurements.
    pub fn seconds_per_round(&self, params: Params, workgroups: u32) -> Result<f64> {
        let mut rounds = 1;
        let seconds = |rounds: u32| {
            let params = Params { rounds, ..params };
            let gpu = self.device.gpu()?;
            self.device.guard(|| {
                gpu.queue.write_buffer(&self.params, 0, bytemuck::bytes_of(&params));
                Ok(())
            })?;
            self.seconds(workgroups, 1)
        };
        // The first run of a kernel may compile it.
        seconds(rounds)?;
        while seconds(rounds)? < LEAST_SECONDS && rounds < MOST_ROUNDS {
            rounds *= 4;
        }
        let mut best = f64::INFINITY;
        for _ in 0..RUNS {
            best = best.min(seconds(rounds)?);
        }
        Ok(best / f64::from(rounds))
    }

    /// Seconds that a pass of `dispatches` takes by the adapter's clock.
    pub fn seconds(&self, workgroups: u32, dispatches: u32) -> Result<f64> {
        let timestamps = wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        };
        let submission = self.submit(workgroups, dispatches, Some(timestamps))?;
        let period = f64::from(self.device.gpu()?.queue.get_timestamp_period());
        self.device.read_now(submission, (&self.read_back, 16), "timestamps", |bytes| {
            let ticks: &[u64] = bytemuck::cast_slice(bytes);
            ticks[1].saturating_sub(ticks[0]) as f64 * period * 1e-9
        })
    }

    /// Submits a pass of `dispatches`, each of which waits for the one before.
    pub fn submit(
        &self,
        workgroups: u32,
        dispatches: u32,
        timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) -> Result<Submitted> {
        let is_timed = timestamps.is_some();
        self.device.guard(|| {
            let gpu = self.device.gpu()?;
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let descriptor =
                wgpu::ComputePassDescriptor { label: Some("peaks"), timestamp_writes: timestamps };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.bindings, &[]);
            for _ in 0..dispatches {
                pass.dispatch_workgroups(workgroups, 1, 1);
            }
            drop(pass);
            if is_timed {
                encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
                encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.read_back, 0, 16);
            }
            Ok(gpu.submit([encoder.finish()]))
        })
    }
}
