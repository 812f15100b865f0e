//! A renderer that owns the GPU: it draws a picture, has the engine find a word in it, and lays the mask over
//! it, all on its own device and in one submission of its own per frame. Only the finished picture comes
//! back, for a PNG.
//!
//! `cargo run --release --example host_device -- "the orange ring" out.png`

use std::path::Path;

use clipseg::{ClipSeg, Device, DeviceOptions, MaskValues, required_features, required_limits, wgpu};
use pollster::block_on;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");
/// Columns and rows of the renderer's picture.
pub const SIZE: (u32, u32) = (400, 300);
const PICTURE: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8UnormSrgb;

/// A ring, a square and a circle, on grey.
const SCENE: &str = "
    struct Corner { @builtin(position) position: vec4<f32>, @location(0) place: vec2<f32> }

    @vertex
    fn corner(@builtin(vertex_index) index: u32) -> Corner {
        // One triangle over all of the picture.
        let place = vec2(f32(index & 1u), f32(index >> 1u)) * 2.0;
        return Corner(vec4(place * 2.0 - 1.0, 0.0, 1.0), vec2(place.x, 1.0 - place.y) * vec2(400.0, 300.0));
    }

    fn linear(red: f32, green: f32, blue: f32) -> vec4<f32> {
        return vec4(pow(vec3(red, green, blue) / 255.0, vec3(2.2)), 1.0);
    }

    @fragment
    fn scene(corner: Corner) -> @location(0) vec4<f32> {
        let ring = distance(corner.place, vec2(130.0, 150.0));
        if ring < 85.0 && ring > 45.0 { return linear(240.0, 130.0, 25.0); }
        let square = abs(corner.place - vec2(310.0, 90.0));
        if max(square.x, square.y) < 50.0 { return linear(40.0, 70.0, 205.0); }
        let circle = distance(corner.place, vec2(310.0, 220.0));
        if circle < 50.0 { return linear(235.0, 215.0, 50.0); }
        return linear(120.0, 118.0, 116.0);
    }";

/// The picture with what is found in magenta.
const COMPOSITE: &str = "
    @group(0) @binding(0) var picture: texture_2d<f32>;
    @group(0) @binding(1) var mask: texture_2d<f32>;

    @vertex
    fn corner(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
        let place = vec2(f32(index & 1u), f32(index >> 1u)) * 2.0;
        return vec4(place * 2.0 - 1.0, 0.0, 1.0);
    }

    @fragment
    fn composite(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
        let place = vec2<u32>(position.xy);
        let colour = textureLoad(picture, place, 0).rgb;
        let found = textureLoad(mask, place, 0).r;
        return vec4(mix(colour, vec3(1.0, 0.0, 1.0), 0.6 * found), 1.0);
    }";

/// What the renderer has on its device.
pub struct Renderer {
    device: wgpu::Device,
    queue: wgpu::Queue,
    scene: wgpu::RenderPipeline,
    composite: wgpu::RenderPipeline,
    picture: wgpu::Texture,
    mask: wgpu::Texture,
    shown: wgpu::Texture,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(prompt), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: host_device PROMPT OUT.png".into());
    };
    let [_, _, shown] = run(&prompt)?;
    save(out.as_ref(), &shown)?;
    println!("{out}: {prompt:?} in magenta");
    Ok(())
}

/// Writes what is shown as a picture file.
pub fn save(path: &Path, shown: &[u8]) -> image::ImageResult<()> {
    let opaque: Vec<u8> =
        shown.as_chunks::<4>().0.iter().flat_map(|texel| [texel[0], texel[1], texel[2]]).collect();
    image::save_buffer(path, &opaque, SIZE.0, SIZE.1, image::ColorType::Rgb8)
}

/// The bytes of the picture, of the mask, and of what is shown, four a texel but for the mask's one.
pub fn run(prompt: &str) -> Result<[Vec<u8>; 3], Box<dyn std::error::Error>> {
    // What every renderer does first. It asks for what the engine likes to have besides what it needs itself;
    // a device that was opened with `wgpu::Limits::default()` and no features would do too.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("renderer"),
        required_features: required_features(&adapter),
        required_limits: wgpu::Limits::default().or_better_values_from(&required_limits(&adapter)),
        ..wgpu::DeviceDescriptor::default()
    }))?;
    let renderer = Renderer::new(device, queue);

    // The engine moves in.
    let options = DeviceOptions::default();
    let engine = Device::from_wgpu(&adapter, renderer.device.clone(), renderer.queue.clone(), &options)?;
    let model = ClipSeg::from_pretrained(&engine, MODEL)?;
    let condition = model.encode_text(&[prompt])?;

    // Frames. The engine records its plans for the first one, and from then on gives commands alone.
    for _ in 0..2 {
        let (_, found) = engine.commands(|| {
            let image = model.encode_texture(&renderer.picture)?;
            let found = model.decode_on_device(&image, &condition)?;
            found.write_mask(0, &renderer.mask, MaskValues::Probability)
        })?;
        let [drawn, composed] = [renderer.draw(), renderer.compose()];
        renderer.queue.submit([drawn].into_iter().chain(found).chain([composed]));
    }
    Ok([(&renderer.picture, 4), (&renderer.mask, 1), (&renderer.shown, 4)]
        .map(|(texture, texel)| renderer.read(texture, texel)))
}

impl Renderer {
    fn new(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        use wgpu::TextureUsages as Usage;
        let texture = |format, usage| {
            device.create_texture(&wgpu::TextureDescriptor {
                label: None,
                size: wgpu::Extent3d { width: SIZE.0, height: SIZE.1, depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format,
                usage: usage | Usage::COPY_SRC,
                view_formats: &[],
            })
        };
        // Whatever is sampled can be a photo; what can be copied to can be a mask.
        let picture = texture(PICTURE, Usage::RENDER_ATTACHMENT | Usage::TEXTURE_BINDING);
        let mask = texture(wgpu::TextureFormat::R8Unorm, Usage::COPY_DST | Usage::TEXTURE_BINDING);
        let shown = texture(PICTURE, Usage::RENDER_ATTACHMENT);
        let scene = pipeline(&device, SCENE);
        let composite = pipeline(&device, COMPOSITE);
        Self { device, queue, scene, composite, picture, mask, shown }
    }

    fn draw(&self) -> wgpu::CommandBuffer {
        self.pass(&self.scene, None, &self.picture)
    }

    fn compose(&self) -> wgpu::CommandBuffer {
        let views = [&self.picture, &self.mask]
            .map(|texture| texture.create_view(&wgpu::TextureViewDescriptor::default()));
        let entry = |binding| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::TextureView(&views[binding as usize]),
        };
        let inputs = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.composite.get_bind_group_layout(0),
            entries: &[entry(0), entry(1)],
        });
        self.pass(&self.composite, Some(&inputs), &self.shown)
    }

    fn pass(
        &self,
        pipeline: &wgpu::RenderPipeline,
        inputs: Option<&wgpu::BindGroup>,
        target: &wgpu::Texture,
    ) -> wgpu::CommandBuffer {
        let view = target.create_view(&wgpu::TextureViewDescriptor::default());
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &view,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations::default(),
            })],
            ..wgpu::RenderPassDescriptor::default()
        });
        pass.set_pipeline(pipeline);
        if inputs.is_some() {
            pass.set_bind_group(0, inputs, &[]);
        }
        pass.draw(0..3, 0..1);
        drop(pass);
        encoder.finish()
    }

    /// The texels of a texture, of so many bytes each.
    fn read(&self, texture: &wgpu::Texture, texel: u32) -> Vec<u8> {
        let row = texel * SIZE.0;
        let padded = row.next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(padded * SIZE.1),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(padded), rows_per_image: None };
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let target = wgpu::TexelCopyBufferInfo { buffer: &staging, layout };
        encoder.copy_texture_to_buffer(texture.as_image_copy(), target, texture.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |result| result.expect("it can be mapped"));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
        let view = staging.get_mapped_range(..).expect("it is mapped");
        view.chunks(padded as usize).flat_map(|bytes| bytes[..row as usize].to_vec()).collect()
    }
}

fn pipeline(device: &wgpu::Device, source: &str) -> wgpu::RenderPipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: None,
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            targets: &[Some(PICTURE.into())],
        }),
        multiview_mask: None,
        cache: None,
    })
}
