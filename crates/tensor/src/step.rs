//! Steps of a recording: dispatches and their resources.

use std::sync::Arc;

use clipseg_shaders::BindingKind;

use crate::buffer::Buffer;
use crate::pipeline::Pipeline;
use crate::{Cost, Device, Result};

/// One recorded piece of work.
pub(crate) enum Step {
    Dispatch(Dispatch),
    BufferToTexture { buffer: wgpu::Buffer, texture: wgpu::Texture, rows: u32, columns: u32 },
    TextureToBuffer { texture: wgpu::Texture, buffer: wgpu::Buffer, rows: u32, columns: u32 },
}

impl Step {
    /// The dispatch, where it is not a copy.
    pub fn dispatch(&self) -> Option<&Dispatch> {
        match self {
            Self::Dispatch(dispatch) => Some(dispatch),
            Self::BufferToTexture { .. } | Self::TextureToBuffer { .. } => None,
        }
    }
}

/// What is bound to one of a kernel's bindings, other than the parameter block.
pub(crate) struct Resource {
    pub memory: Memory,
    /// Bytes that the kernel has to read or write: those of the tensor. The memory may be larger.
    pub bytes: u64,
    /// Whether it holds half-precision floats, which not every kernel can read.
    pub is_f16: bool,
}

#[derive(PartialEq)]
pub(crate) enum Memory {
    Buffer(Buffer),
    Texture(wgpu::Texture),
}

impl Resource {
    pub fn buffer(buffer: Buffer, bytes: u64) -> Self {
        Self { memory: Memory::Buffer(buffer), bytes, is_f16: false }
    }

    pub fn texture(texture: wgpu::Texture, bytes: u64) -> Self {
        Self { memory: Memory::Texture(texture), bytes, is_f16: false }
    }

    /// The same memory, of which the kernel needs no more than `bytes`.
    pub fn with_bytes(self, bytes: u64) -> Self {
        Self { bytes: self.bytes.min(bytes), ..self }
    }
}

/// Bytes of all `resources`. Memory that is bound twice, such as an input that is also the residual, counts
/// once.
pub(crate) fn bytes_of(resources: &[Resource]) -> u64 {
    let is_new = |&(place, resource): &(usize, &Resource)| {
        resources[..place].iter().all(|earlier| earlier.memory != resource.memory)
    };
    resources.iter().enumerate().filter(is_new).map(|(_, resource)| resource.bytes).sum()
}

/// One run of a kernel, before its bind group exists.
pub(crate) struct Dispatch {
    pub pipeline: Arc<Pipeline>,
    pub resources: Vec<Resource>,
    pub uniform_offset: u64,
    pub uniform_bytes: u64,
    /// Formats the kernel's parameters, given their bytes.
    pub show_params: fn(&[u8]) -> String,
    pub grid: [u32; 3],
    pub cost: Cost,
}

impl Dispatch {
    /// Whether some of its workgroups can be dispatched without the others.
    #[cfg(not(target_family = "wasm"))]
    pub fn can_be_cut(&self) -> bool {
        self.pipeline.kernel.first_workgroup.is_some()
    }

    /// Its parameters among those of all dispatches.
    pub fn params<'a>(&self, uniforms: &'a [u8]) -> &'a [u8] {
        let start = self.uniform_offset as usize;
        &uniforms[start..start + self.uniform_bytes as usize]
    }
}

/// Binds a dispatch's parameters, which lie in `uniforms` from `offset` on, and its resources.
pub(crate) fn bind_group(
    device: &Device,
    dispatch: &Dispatch,
    uniforms: &wgpu::Buffer,
    offset: u64,
) -> Result<wgpu::BindGroup> {
    let views: Vec<_> = dispatch
        .resources
        .iter()
        .map(|resource| match &resource.memory {
            Memory::Buffer(_) => None,
            Memory::Texture(texture) => Some(texture.create_view(&wgpu::TextureViewDescriptor::default())),
        })
        .collect();
    let mut entries = vec![wgpu::BindGroupEntry {
        binding: 0,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: uniforms,
            offset,
            size: std::num::NonZeroU64::new(dispatch.uniform_bytes),
        }),
    }];
    for (place, (resource, view)) in dispatch.resources.iter().zip(&views).enumerate() {
        let resource = match (&resource.memory, view) {
            (Memory::Texture(_), Some(view)) => wgpu::BindingResource::TextureView(view),
            (Memory::Buffer(buffer), _) => buffer.gpu()?.as_entire_binding(),
            (Memory::Texture(_), None) => continue,
        };
        entries.push(wgpu::BindGroupEntry { binding: place as u32 + 1, resource });
    }
    let kernel = dispatch.pipeline.kernel;
    debug_assert_eq!(kernel.bindings[0].kind, BindingKind::Uniform);
    device.count_created();
    Ok(device.gpu()?.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(kernel.name),
        layout: &dispatch.pipeline.get(device)?.get_bind_group_layout(0),
        entries: &entries,
    }))
}

/// A buffer as rows of `columns` values. `columns` is a multiple of 64, as copies need rows of a multiple of
/// 256 bytes.
pub(crate) fn row_layout(buffer: &wgpu::Buffer, columns: u32) -> wgpu::TexelCopyBufferInfo<'_> {
    let layout =
        wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * columns), rows_per_image: None };
    wgpu::TexelCopyBufferInfo { buffer, layout }
}

/// The texels that hold `rows` of `columns` values.
pub(crate) fn texel_extent(rows: u32, columns: u32) -> wgpu::Extent3d {
    wgpu::Extent3d { width: columns / 4, height: rows, depth_or_array_layers: 1 }
}
