//! Work on memory of a program that has a GPU for itself: its photos read, masks written for it.

use clipseg_tensor::{
    Device, DeviceOptions, MaskTarget, MaskTexels, MaskValues, MaskWriter, Overlay, OverlayWriter,
    PhotoResize, PhotoResizing, ResizeAxis, Result, wgpu,
};

use crate::{random, random_tensor};

/// The side of what the model looks at, and gives out.
pub(crate) const SIDE: usize = 352;
/// A photo's rows and columns.
pub(crate) const PHOTO: (usize, usize) = (960, 1280);

/// Does the work once, to its end.
pub type Run = Box<dyn Fn()>;

/// Such a program's device, and ours on it.
pub struct Host {
    gpu: wgpu::Device,
    device: Device,
}

impl Host {
    /// On the adapter that wgpu takes by itself; `None` where there is none, or it is too small.
    #[must_use]
    pub fn open() -> Option<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let options = wgpu::RequestAdapterOptions::default();
        let adapter = pollster::block_on(instance.request_adapter(&options)).ok()?;
        let descriptor = wgpu::DeviceDescriptor::default();
        let (gpu, queue) = pollster::block_on(adapter.request_device(&descriptor)).ok()?;
        let device = Device::from_wgpu(&adapter, gpu.clone(), queue, &DeviceOptions::default()).ok()?;
        Some(Self { gpu, device })
    }

    /// A texture of a photo's size.
    fn texture(&self, format: wgpu::TextureFormat) -> wgpu::Texture {
        self.gpu.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width: PHOTO.1 as u32, height: PHOTO.0 as u32, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        })
    }
}

/// A photo made what the model looks at.
///
/// # Errors
/// The device's.
pub(crate) fn resize_photo(host: Host) -> Result<Run> {
    // As many taps as a bilinear filter has where it makes smaller.
    let axis = |source: usize| {
        let taps = 2 * source / SIDE;
        let starts = (0..SIDE).map(|place| (place * (source - taps) / SIDE) as u32).collect();
        ResizeAxis { starts, weights: vec![(1 << 22) / taps as i32; SIDE * taps] }
    };
    let resizing = PhotoResizing {
        size: PHOTO,
        across: axis(PHOTO.1),
        down: axis(PHOTO.0),
        down_first: false,
        table: random(3 * 256),
    };
    let resize = PhotoResize::new(&host.device, resizing)?;
    let photo = host.texture(wgpu::TextureFormat::Rgba8Unorm);
    Ok(Box::new(move || {
        resize.run(&photo).and_then(|_| host.device.wait()).expect("the photo is resized");
    }))
}

/// Logits made a mask of a photo's size.
///
/// # Errors
/// The device's.
pub(crate) fn write_mask(host: Host) -> Result<Run> {
    let writer = MaskWriter::new(&host.device, (SIDE, SIDE), PHOTO, MaskTexels::Bits8, true)?;
    let logits = random_tensor(&host.device, &[1, SIDE, SIDE])?;
    let mask = host.texture(wgpu::TextureFormat::R8Unorm);
    Ok(Box::new(move || {
        let written = writer.run(&logits, 0, MaskTarget::Texture(&mask), MaskValues::Threshold(0.5));
        written.and_then(|()| host.device.wait()).expect("the mask is written");
    }))
}

/// A mask of logits laid over a photo.
///
/// # Errors
/// The device's.
pub(crate) fn write_overlay(host: Host) -> Result<Run> {
    let writer = OverlayWriter::new(&host.device, (SIDE, SIDE), PHOTO)?;
    let logits = random_tensor(&host.device, &[1, SIDE, SIDE])?;
    let [photo, target] = [(); 2].map(|()| host.texture(wgpu::TextureFormat::Rgba8Unorm));
    Ok(Box::new(move || {
        let written = writer.run(&logits, 0, &photo, &target, &Overlay::default());
        written.and_then(|()| host.device.wait()).expect("the overlay is written");
    }))
}
