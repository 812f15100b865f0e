//! What a wgpu device has and the processor does not: queue, pipelines, features.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::adapter;
use crate::device::{DeviceOptions, F32_TEXELS};
use crate::failure::Failures;
#[cfg(not(target_family = "wasm"))]
use crate::tuner::{Subject, Tuner};
use crate::{Error, Precision, Result};

/// An open adapter of a driver's.
pub(crate) struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub failures: Arc<Failures>,
    /// Lanes of a subgroup, 8 or 16, where the subgroup kernels run.
    pub lanes: Option<u32>,
    /// Whether shaders may have the functions that pack and unpack f16 values: all but llvmpipe on old processors. A kernel that has
    /// them does not compile without.
    pub supports_unpack2x16float: bool,
    /// Stand in for operands that a kernel's flags leave out.
    pub empty_buffer: wgpu::Buffer,
    pub empty_texture: wgpu::Texture,
    /// Bytes given to the queue by uploads since the last submit on their behalf.
    pub uploading: AtomicUsize,
    /// The measured choices of kernels, where the device is to make them.
    #[cfg(not(target_family = "wasm"))]
    pub tuner: Option<Tuner>,
}

impl Gpu {
    /// Opens `adapter`.
    ///
    /// # Errors
    /// [`Error::Adapter`] when it gives no device, or lacks what the options insist on.
    pub async fn open(adapter: &wgpu::Adapter, options: &DeviceOptions) -> Result<Self> {
        let info = adapter.get_info();
        let failed = |reason: String| Error::Adapter { adapter: info.name.clone(), reason };
        let lanes = adapter::subgroup_lanes(adapter, options.kernels).map_err(failed)?;
        let mut features = wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY;
        #[cfg(not(target_family = "wasm"))]
        features.set(wgpu::Features::PIPELINE_CACHE, options.pipeline_cache.is_some());
        let downlevel = adapter.get_downlevel_capabilities().flags;
        let supports_unpack2x16float = downlevel.contains(wgpu::DownlevelFlags::SHADER_F16_IN_F32);
        if options.precision == Precision::F16 && !supports_unpack2x16float {
            return Err(failed("its shaders cannot read half-precision floats; take f32".to_owned()));
        }
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("clipseg"),
                required_features: features & adapter.features(),
                required_limits: adapter.limits(),
                ..Default::default()
            })
            .await
            .map_err(|error| failed(error.to_string()))?;

        let failures = Failures::of(&device);
        let (empty_buffer, empty_texture) = failures.guard(&device, || {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("empty"),
                size: 16,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            });
            // Sides as pool::texture gives others.
            Ok((buffer, device.create_texture(&texture_descriptor(F32_TEXELS, 3, 3))))
        })?;
        #[cfg(not(target_family = "wasm"))]
        let tuner = options.tuning.as_deref().map(|folder| {
            let kernels = crate::ops::fingerprint();
            Tuner::open(folder, Subject { adapter: adapter::describe(&info), kernels })
        });
        Ok(Self {
            device,
            queue,
            failures,
            lanes,
            supports_unpack2x16float,
            empty_buffer,
            empty_texture,
            uploading: AtomicUsize::new(0),
            #[cfg(not(target_family = "wasm"))]
            tuner,
        })
    }

    /// Whether the driver offers something.
    pub fn has(&self, features: wgpu::Features) -> bool {
        self.device.features().contains(features)
    }

    /// Waits until what `until` says has been done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device is gone.
    pub fn poll(&self, until: wgpu::PollType) -> Result<()> {
        // Polled again, wgpu gives back the memory of a lost device, under the hands of who may still read it.
        self.failures.check()?;
        let polled = self.device.poll(until).map_err(|error| Error::Device(error.to_string()));
        // A lost device explains why it could not be waited for.
        self.failures.check()?;
        polled.map(|_| ())
    }
}

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
