//! The passes of another's kernel with their memory, and their runs.

use std::time::Instant;

use anyhow::{Context, Result};
use clipseg::wgpu::{self, util::DeviceExt};
use clipseg_files::shown;

use super::gpu::Gpu;
use crate::kernels::layout::{self, Bound, Program};
use crate::kernels::measure::Timed;

/// WGSL without the directive that WebGPU wants before subgroup operations: naga takes these without, and
/// refuses the directive.
fn for_naga(source: &str) -> String {
    let line = |line: &str| {
        let Some(names) = line.trim().strip_prefix("enable ").and_then(|rest| rest.split_once(';')) else {
            return line.to_owned();
        };
        let kept: Vec<_> = names.0.split(',').map(str::trim).filter(|name| *name != "subgroups").collect();
        match kept.is_empty() {
            // An empty line, so that others keep their numbers.
            true => names.1.to_owned(),
            false => format!("enable {};{}", kept.join(", "), names.1),
        }
    };
    source.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A program with its memory, on a device.
pub struct Loaded<'a> {
    gpu: &'a Gpu,
    tensors: Vec<(String, wgpu::Buffer)>,
    /// Zeros before each run.
    cleared: Vec<wgpu::Buffer>,
    passes: Vec<Dispatch>,
    /// Runs of one submission.
    repeats: usize,
}

impl<'a> Loaded<'a> {
    /// Compiles the passes and fills the inputs.
    pub fn new(gpu: &'a Gpu, program: &Program, inputs: &[&[f32]]) -> Result<Self> {
        gpu.guarded(|| {
            let mut tensors = Vec::new();
            for (place, (name, shape)) in program.tensors.iter().enumerate() {
                let buffer = match inputs.get(place) {
                    Some(values) => gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                        label: Some(name),
                        contents: &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>(),
                        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                    }),
                    None => storage(gpu, 4 * shape.iter().product::<usize>().max(1) as u64),
                };
                tensors.push((name.clone(), buffer));
            }
            let scratches: Vec<_> = program.scratches.iter().map(|own| storage(gpu, own.bytes)).collect();
            let is_cleared = program.scratches.iter().map(|own| own.is_cleared);
            let cleared = scratches.iter().zip(is_cleared).filter(|(_, is_cleared)| *is_cleared);
            let cleared = cleared.map(|(buffer, _)| buffer.clone()).collect();
            let passes = program.passes.iter().map(|pass| load(gpu, pass, &tensors, &scratches));
            let passes = passes.collect();
            Ok(Self { gpu, passes, tensors, cleared, repeats: 1 })
        })
    }

    /// The same, so many times in a submission.
    pub fn repeated(self, repeats: usize) -> Self {
        // A query set holds two timestamps for each of so many passes.
        let most = wgpu::QUERY_SET_MAX_QUERIES as usize / 2 / self.passes.len().max(1);
        Self { repeats: repeats.min(most).max(1), ..self }
    }

    /// Runs it and reads a tensor.
    pub fn result(&self, tensor: &str) -> Result<Vec<f32>> {
        self.wall()?;
        let buffer = self.tensors.iter().find(|(name, _)| name == tensor).map(|(_, buffer)| buffer);
        let buffer = buffer.with_context(|| format!("it gives no {}", shown(tensor)))?;
        let bytes = self.gpu.guarded(|| self.gpu.read(buffer))?;
        let (values, _) = bytes.as_chunks::<4>();
        Ok(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    /// One run behind the other in one pass, as far as no memory is cleared between them.
    fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let (groups, runs) = if self.cleared.is_empty() { (1, self.repeats) } else { (self.repeats, 1) };
        for _ in 0..groups {
            self.clear(encoder);
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for dispatch in (0..runs).flat_map(|_| &self.passes) {
                dispatch.record(&mut pass);
            }
        }
    }

    /// The same with timestamps, each dispatch in a pass of its own.
    fn encode_timed(&self, encoder: &mut wgpu::CommandEncoder, queries: &wgpu::QuerySet) {
        let mut places = (0..).step_by(2);
        for _ in 0..self.repeats {
            self.clear(encoder);
            for (dispatch, place) in self.passes.iter().zip(&mut places) {
                let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
                    query_set: queries,
                    beginning_of_pass_write_index: Some(place),
                    end_of_pass_write_index: Some(place + 1),
                });
                let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
                dispatch.record(&mut encoder.begin_compute_pass(&descriptor));
            }
        }
    }

    fn clear(&self, encoder: &mut wgpu::CommandEncoder) {
        self.cleared.iter().for_each(|buffer| encoder.clear_buffer(buffer, 0, None));
    }
}

/// A pass that can be recorded.
struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 3],
}

impl Dispatch {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y, z] = self.grid;
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

impl Timed for Loaded<'_> {
    fn repeats(&self) -> usize {
        self.repeats
    }

    fn wall(&self) -> Result<f64> {
        self.gpu.guarded(|| {
            let start = Instant::now();
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            self.encode(&mut encoder);
            self.gpu.submit(encoder)?;
            Ok(start.elapsed().as_secs_f64())
        })
    }

    fn gpu(&self) -> Result<Vec<f64>> {
        if !self.gpu.has_clock {
            return Ok(Vec::new());
        }
        let count = 2 * (self.repeats * self.passes.len()) as u32;
        let bytes = self.gpu.guarded(|| {
            let queries = self.gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count,
            });
            let resolved = self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: u64::from(count) * 8,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            self.encode_timed(&mut encoder, &queries);
            encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
            self.gpu.submit(encoder)?;
            self.gpu.read(&resolved)
        })?;
        let (ticks, _) = bytes.as_chunks::<8>();
        let ticks: Vec<_> = ticks.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect();
        let seconds: Vec<_> =
            ticks.chunks_exact(2).map(|pass| self.gpu.seconds(pass[1].saturating_sub(pass[0]))).collect();
        Ok(seconds.chunks(self.passes.len()).map(|run| run.iter().sum()).collect())
    }
}

fn storage(gpu: &Gpu, bytes: u64) -> wgpu::Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

fn load(
    gpu: &Gpu,
    pass: &layout::Pass,
    tensors: &[(String, wgpu::Buffer)],
    scratches: &[wgpu::Buffer],
) -> Dispatch {
    let device = &gpu.device;
    let mut layout_entries = Vec::new();
    let mut buffers = Vec::new();
    for bound in &pass.bound {
        let (ty, buffer) = match bound {
            Bound::Uniform(bytes) => {
                let contents = wgpu::util::BufferInitDescriptor {
                    label: None,
                    contents: bytes,
                    usage: wgpu::BufferUsages::UNIFORM,
                };
                (wgpu::BufferBindingType::Uniform, device.create_buffer_init(&contents))
            }
            Bound::Tensor { place, writes } => {
                (wgpu::BufferBindingType::Storage { read_only: !writes }, tensors[*place].1.clone())
            }
            Bound::Scratch { place, writes } => {
                (wgpu::BufferBindingType::Storage { read_only: !writes }, scratches[*place].clone())
            }
        };
        layout_entries.push(wgpu::BindGroupLayoutEntry {
            binding: layout_entries.len() as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        });
        buffers.push(buffer);
    }
    // Never `create_shader_module_trusted`: the text is a stranger's.
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(&pass.name),
        source: wgpu::ShaderSource::Wgsl(for_naga(&pass.source).into()),
    });
    let group_layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(&pass.name),
        entries: &layout_entries,
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(&pass.name),
        bind_group_layouts: &[Some(&group_layout)],
        ..Default::default()
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&pass.name),
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let entries: Vec<_> = buffers
        .iter()
        .enumerate()
        .map(|(place, buffer)| wgpu::BindGroupEntry {
            binding: place as u32,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&pass.name),
        layout: &group_layout,
        entries: &entries,
    });
    Dispatch { pipeline, bind_group, grid: pass.grid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directive_for_subgroups_is_taken_out() {
        for (source, expected) in [
            ("enable subgroups;\nfn main() {}", "\nfn main() {}"),
            ("  enable f16, subgroups; // both\nx", "enable f16; // both\nx"),
            ("enable f16;\nlet enable = 1;", "enable f16;\nlet enable = 1;"),
            ("// enable subgroups;", "// enable subgroups;"),
        ] {
            assert_eq!(for_naga(source), expected);
        }
    }
}
