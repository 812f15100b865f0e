//! Textures in which tensors and weights lie.

/// Four columns of floats per texel: the format of tensors.
pub(crate) const F32_TEXELS: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Float;
/// Eight f16 values per texel, in pairs: the format of weights that are stored so.
pub(crate) const PACKED_F16_TEXELS: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Uint;

/// A texture of the kind that tensors and weights lie in.
pub(crate) fn texture_descriptor(
    format: wgpu::TextureFormat,
    width: u32,
    height: u32,
) -> wgpu::TextureDescriptor<'static> {
    wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::STORAGE_BINDING
            | wgpu::TextureUsages::COPY_DST
            | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    }
}
