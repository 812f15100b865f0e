//! A host for tests: a program that owns the GPU.

use std::sync::{Arc, Mutex};

use clipseg::wgpu;
use pollster::block_on;

/// A device with its queue, as a renderer opens them for itself, and all that its handlers were called with.
pub struct Host {
    /// The driver's first adapter.
    pub adapter: wgpu::Adapter,
    /// The host's device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// The errors that the handler of uncaptured errors was called with.
    pub errors: Arc<Mutex<Vec<String>>>,
    /// The losses that the handler of the device's loss was called with.
    pub losses: Arc<Mutex<Vec<String>>>,
}

/// The driver's first adapter.
#[must_use]
pub fn adapter() -> wgpu::Adapter {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle_from_env()
    });
    block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        .unwrap_or_else(|error| panic!("these tests need an adapter: {error}"))
}

impl Host {
    /// Opens a device with these features and limits, and nothing else that the engine could use.
    #[must_use]
    pub fn open(features: wgpu::Features, limits: wgpu::Limits) -> Self {
        Self::on(adapter(), features, limits)
    }

    /// As [`open`](Self::open), on an adapter at hand.
    #[must_use]
    pub fn on(adapter: wgpu::Adapter, features: wgpu::Features, limits: wgpu::Limits) -> Self {
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("host"),
            required_features: features,
            required_limits: limits,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = block_on(adapter.request_device(&descriptor))
            .unwrap_or_else(|error| panic!("these tests need a device: {error}"));
        let (errors, losses) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let told = Arc::clone(&errors);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            told.lock().expect("no panic").push(error.to_string());
        }));
        let told = Arc::clone(&losses);
        device.set_device_lost_callback(move |reason, message| {
            told.lock().expect("no panic").push(format!("{reason:?} {message}"));
        });
        Self { adapter, device, queue, errors, losses }
    }

    /// As eframe opens a device by default.
    #[must_use]
    pub fn plain() -> Self {
        Self::open(wgpu::Features::empty(), wgpu::Limits::default())
    }

    /// An engine on the host's device.
    ///
    /// # Errors
    /// Those of [`Device::from_wgpu`](clipseg::Device::from_wgpu).
    pub fn engine(&self, options: &clipseg::DeviceOptions) -> Result<clipseg::Device, clipseg::DeviceError> {
        clipseg::Device::from_wgpu(&self.adapter, self.device.clone(), self.queue.clone(), options)
    }

    /// How many errors the host's handler was called with.
    #[must_use]
    pub fn told(&self) -> usize {
        self.errors.lock().expect("no panic").len()
    }

    /// The host itself asks for something that any device refuses.
    pub fn make_a_mistake(&self) {
        drop(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("impossible"),
            size: 16,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        }));
    }

    /// Submits work that keeps a software driver busy for a good while, and gives a flag that is set when it
    /// is done.
    #[must_use]
    pub fn submit_a_long_frame(&self) -> Arc<std::sync::atomic::AtomicBool> {
        self.submit_a_frame(400_000)
    }

    /// As [`submit_a_long_frame`](Self::submit_a_long_frame), of so many steps.
    #[must_use]
    pub fn submit_a_frame(&self, steps: u32) -> Arc<std::sync::atomic::AtomicBool> {
        let source = "
            override STEPS: u32 = 1u;
            @group(0) @binding(0) var<storage, read_write> numbers: array<f32>;
            @compute @workgroup_size(64)
            fn main(@builtin(global_invocation_id) id: vec3<u32>) {
                var number = f32(id.x);
                for (var i = 0u; i < STEPS; i++) { number = sin(number) + 1.0; }
                numbers[id.x] = number;
            }";
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("frame"),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("frame"),
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[("STEPS", f64::from(steps))],
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        let numbers = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("frame"),
            size: 4 * 64 * 64,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("frame"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: numbers.as_entire_binding() }],
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(64, 1, 1);
        }
        let is_done = Arc::new(std::sync::atomic::AtomicBool::new(false));
        self.queue.submit([encoder.finish()]);
        let done = Arc::clone(&is_done);
        self.queue.on_submitted_work_done(move || done.store(true, std::sync::atomic::Ordering::SeqCst));
        is_done
    }
}

/// Makes textures of the host, and reads textures and buffers.
impl Host {
    /// A texture of `width` by `height` and one layer, with nothing in it.
    #[must_use]
    pub fn texture(
        &self,
        format: wgpu::TextureFormat,
        (width, height): (u32, u32),
        usage: wgpu::TextureUsages,
    ) -> wgpu::Texture {
        self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("host"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        })
    }

    /// A photo's pixels, which are red, green and blue, in a texture of four bytes per texel with arbitrary
    /// alpha.
    #[must_use]
    pub fn photo(&self, format: wgpu::TextureFormat, size: (u32, u32), rgb: &[u8]) -> wgpu::Texture {
        use wgpu::TextureFormat::{Bgra8Unorm, Bgra8UnormSrgb};
        let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST;
        let texture = self.texture(format, size, usage);
        let (pixels, _) = rgb.as_chunks::<3>();
        let texel = |&[red, green, blue]: &[u8; 3]| match format {
            Bgra8Unorm | Bgra8UnormSrgb => [blue, green, red, red ^ blue],
            _ => [red, green, blue, red ^ blue],
        };
        let texels: Vec<_> = pixels.iter().flat_map(texel).collect();
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * size.0), rows_per_image: None };
        self.queue.write_texture(texture.as_image_copy(), &texels, layout, texture.size());
        texture
    }

    /// The bytes of a texture with `texel` bytes per texel, which was made with `COPY_SRC`.
    #[must_use]
    pub fn bytes_of(&self, texture: &wgpu::Texture, texel: u32) -> Vec<u8> {
        let row = texel * texture.width();
        let padded = row.next_multiple_of(256);
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("host"),
            size: u64::from(padded * texture.height()),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(padded), rows_per_image: None };
        let target = wgpu::TexelCopyBufferInfo { buffer: &staging, layout };
        encoder.copy_texture_to_buffer(texture.as_image_copy(), target, texture.size());
        self.queue.submit([encoder.finish()]);
        let bytes = self.read(&staging);
        bytes.chunks(padded as usize).flat_map(|bytes| bytes[..row as usize].to_vec()).collect()
    }

    /// The bytes of a buffer that was made with `COPY_SRC`.
    #[must_use]
    pub fn bytes_of_buffer(&self, buffer: &wgpu::Buffer) -> Vec<u8> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("host"),
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        self.read(&staging)
    }

    fn read(&self, staging: &wgpu::Buffer) -> Vec<u8> {
        staging.map_async(wgpu::MapMode::Read, .., |result| result.expect("it can be mapped"));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
        staging.get_mapped_range(..).expect("it is mapped").to_vec()
    }
}
