//! What a recording consists of.

use clipseg_shaders::{BindingKind, Kernel};

use crate::Device;

/// One recorded piece of work.
pub(crate) enum Step {
    Dispatch(Dispatch),
    BufferToTexture { buffer: wgpu::Buffer, texture: wgpu::Texture, rows: u32, columns: u32 },
    TextureToBuffer { texture: wgpu::Texture, buffer: wgpu::Buffer, rows: u32, columns: u32 },
}

/// What a kernel's binding is given; the parameter block is not among them.
pub(crate) enum Resource {
    Buffer(wgpu::Buffer),
    Texture(wgpu::Texture),
}

/// One run of a kernel, before its bind group exists.
pub(crate) struct Dispatch {
    pub kernel: &'static Kernel,
    pub pipeline: wgpu::ComputePipeline,
    pub resources: Vec<Resource>,
    pub uniform_offset: u64,
    pub uniform_bytes: u64,
    pub grid: [u32; 3],
}

/// Binds a dispatch's parameters, which lie in `uniforms`, and its resources.
pub(crate) fn bind_group(device: &Device, dispatch: &Dispatch, uniforms: &wgpu::Buffer) -> wgpu::BindGroup {
    let views: Vec<_> = dispatch
        .resources
        .iter()
        .map(|resource| match resource {
            Resource::Buffer(_) => None,
            Resource::Texture(texture) => Some(texture.create_view(&wgpu::TextureViewDescriptor::default())),
        })
        .collect();
    let mut entries = vec![wgpu::BindGroupEntry {
        binding: 0,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: uniforms,
            offset: dispatch.uniform_offset,
            size: std::num::NonZeroU64::new(dispatch.uniform_bytes),
        }),
    }];
    for (place, (resource, view)) in dispatch.resources.iter().zip(&views).enumerate() {
        let resource = match (resource, view) {
            (Resource::Texture(_), Some(view)) => wgpu::BindingResource::TextureView(view),
            (Resource::Buffer(buffer), _) => buffer.as_entire_binding(),
            (Resource::Texture(_), None) => continue,
        };
        entries.push(wgpu::BindGroupEntry { binding: place as u32 + 1, resource });
    }
    debug_assert_eq!(dispatch.kernel.bindings[0].kind, BindingKind::Uniform);
    device.count_created();
    device.gpu().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(dispatch.kernel.name),
        layout: &dispatch.pipeline.get_bind_group_layout(0),
        entries: &entries,
    })
}

/// A buffer as rows of `columns` values; a multiple of 64, as copies want rows of whole 256 bytes.
pub(crate) fn row_layout(buffer: &wgpu::Buffer, columns: u32) -> wgpu::TexelCopyBufferInfo<'_> {
    let layout =
        wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * columns), rows_per_image: None };
    wgpu::TexelCopyBufferInfo { buffer, layout }
}

/// The texels that hold `rows` of `columns` values.
pub(crate) fn texel_extent(rows: u32, columns: u32) -> wgpu::Extent3d {
    wgpu::Extent3d { width: columns / 4, height: rows, depth_or_array_layers: 1 }
}
