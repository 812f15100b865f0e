//! Work of a run on memory that a host gives with it: photos in its textures, masks into its textures and
//! buffers. It stands before or behind the steps of a plan, which only know the plan's own memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytemuck::Pod;
use clipseg_shaders::Kernel;

use crate::pipeline::Pipeline;
use crate::{Device, Error, Result};

/// A piece of such work, ready to be encoded.
pub(crate) enum HostStep {
    /// A run of a kernel.
    Dispatch { pipeline: Arc<Pipeline>, bind_group: wgpu::BindGroup, grid: [u32; 3] },
    /// Rows of `row_bytes` to a whole texture.
    ToTexture { buffer: wgpu::Buffer, row_bytes: u32, texture: wgpu::Texture },
    /// So many bytes to the begin of a buffer.
    ToBuffer { from: wgpu::Buffer, to: wgpu::Buffer, bytes: u64 },
}

impl HostStep {
    /// A run of `kernel` on `resources`, which follow its parameters.
    ///
    /// # Errors
    /// [`Error::OtherDevice`] where one of them is another device's, called `what`.
    pub fn dispatch<P: Pod>(
        device: &Device,
        kernel: &'static Kernel,
        params: &P,
        resources: &[wgpu::BindingResource<'_>],
        grid: [u32; 3],
        what: &str,
    ) -> Result<Self> {
        let limit = device.limits().max_compute_workgroups_per_dimension;
        if grid.iter().any(|&side| side > limit) {
            let reason = format!("a grid of {grid:?} workgroups exceeds the adapter's {limit} a side");
            return Err(Error::Shape { op: kernel.name, reason });
        }
        let gpu = &device.gpu()?.device;
        let pipeline = device.pipelines().find(kernel, &[]);
        let compiled = pipeline.get(device)?;
        let bound = of_this_instance(what, || {
            device.guard(|| {
                let uniforms =
                    device.create_filled_as(bytemuck::bytes_of(params), wgpu::BufferUsages::UNIFORM)?;
                let uniforms = uniforms.as_entire_binding();
                let all = std::iter::once(uniforms).chain(resources.iter().cloned());
                let entries: Vec<_> = (0..)
                    .zip(all)
                    .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                    .collect();
                device.count_created();
                Ok(gpu.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(kernel.name),
                    layout: &compiled.get_bind_group_layout(0),
                    entries: &entries,
                }))
            })
        });
        let bind_group = bound.map_err(|error| of_another_device(error, what))?;
        Ok(Self::Dispatch { pipeline, bind_group, grid })
    }

    pub fn encode(&self, device: &Device, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        match self {
            Self::Dispatch { pipeline, bind_group, grid } => {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pass.set_pipeline(pipeline.get(device)?);
                pass.set_bind_group(0, bind_group, &[]);
                pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
            }
            Self::ToTexture { buffer, row_bytes, texture } => {
                let layout = wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(*row_bytes),
                    rows_per_image: None,
                };
                let source = wgpu::TexelCopyBufferInfo { buffer, layout };
                encoder.copy_buffer_to_texture(source, texture.as_image_copy(), texture.size());
            }
            Self::ToBuffer { from, to, bytes } => encoder.copy_buffer_to_buffer(from, 0, to, 0, *bytes),
        }
        Ok(())
    }
}

/// The grid for one invocation of `kernel` per element, folded where a side would be too long.
pub(crate) fn grid_1d(device: &Device, kernel: &Kernel, length: usize) -> [u32; 3] {
    let limit = device.limits().max_compute_workgroups_per_dimension as usize;
    let workgroups = length.div_ceil(kernel.workgroup_size[0] as usize).max(1);
    let x = workgroups.min(limit);
    [x as u32, workgroups.div_ceil(x) as u32, 1]
}

/// Does what hands a host's memory to wgpu, which panics where it knows of nothing with that memory's number:
/// every `wgpu::Instance` numbers what it makes by itself, so memory of another one is seldom anything here.
pub(crate) fn of_this_instance<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::OtherDevice { what: what.to_owned() }))
}

/// A host's memory within the run of a plan, which does not know what it is.
pub(crate) const HOSTS_MEMORY: &str = "the host's texture or buffer";

/// Says of a host's memory that it is another device's, where wgpu does, and what it is.
pub(crate) fn of_another_device(error: Error, what: &str) -> Error {
    match error {
        Error::OtherDevice { what: unnamed } if unnamed == HOSTS_MEMORY => {
            Error::OtherDevice { what: what.to_owned() }
        }
        Error::Device(message) if message.contains("doesn't match Device") => {
            Error::OtherDevice { what: what.to_owned() }
        }
        error => error,
    }
}

/// Refuses a texture that is not a single picture of one of `formats` with `usage`.
pub(crate) fn expect_texture(
    what: &'static str,
    texture: &wgpu::Texture,
    formats: &[wgpu::TextureFormat],
    usage: wgpu::TextureUsages,
) -> Result<()> {
    let refused = |reason: String| Err(Error::Texture { what, reason });
    if !formats.contains(&texture.format()) {
        return refused(format!("its format is {:?}, and one of {formats:?} is needed", texture.format()));
    }
    if !texture.usage().contains(usage) {
        return refused(format!("it was made without {usage:?}; add that to its usage"));
    }
    let (dimension, layers, samples) =
        (texture.dimension(), texture.depth_or_array_layers(), texture.sample_count());
    if (dimension, layers, samples) != (wgpu::TextureDimension::D2, 1, 1) {
        let reason =
            format!("it is {dimension:?} of {layers} layers and {samples} samples, and a flat one is needed");
        return refused(reason);
    }
    Ok(())
}
