//! What reads a host's textures and writes masks for it, beside the twins, on ragged sizes.

use clipseg_shaders::kernels::{overlay_mask, pack_mask, resize_bytes, resize_photo};
use clipseg_shaders::twins;
use clipseg_tensor::{
    Activation, Device, DeviceOptions, MaskTarget, MaskTexels, MaskValues, MaskWriter, Overlay,
    OverlayWriter, PhotoResize, PhotoResizing, Recorder, ResizeAxis, Tensor, wgpu,
};
use pollster::block_on;
use proptest::prelude::*;
use wgpu::TextureFormat::{
    Bgra8Unorm, Bgra8UnormSrgb, R8Unorm, R16Float, R32Float, Rgba8Unorm, Rgba8UnormSrgb,
};

use crate::support::{Random, cases, ragged, run};

struct Host {
    gpu: wgpu::Device,
    queue: wgpu::Queue,
    device: Device,
}

fn host() -> Host {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        .expect("these tests need an adapter");
    let (gpu, queue) =
        block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).expect("a device");
    let options = DeviceOptions { runtime_checks: true, ..DeviceOptions::default() };
    let device = Device::from_wgpu(&adapter, gpu.clone(), queue.clone(), &options).expect("it has all");
    Host { gpu, queue, device }
}

impl Host {
    fn texture(&self, format: wgpu::TextureFormat, height: usize, width: usize) -> wgpu::Texture {
        self.gpu.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::TEXTURE_BINDING
                | wgpu::TextureUsages::COPY_DST
                | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        })
    }

    /// As [`texture`](Self::texture), with these bytes of four a texel in it.
    fn photo(&self, format: wgpu::TextureFormat, height: usize, width: usize, bytes: &[u8]) -> wgpu::Texture {
        let texture = self.texture(format, height, width);
        let layout = wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(4 * width as u32),
            rows_per_image: None,
        };
        self.queue.write_texture(texture.as_image_copy(), bytes, layout, texture.size());
        texture
    }

    /// The rows of a texture, each as it is padded for a copy.
    fn padded_rows(&self, texture: &wgpu::Texture, row_bytes: u32) -> Vec<u32> {
        let size = u64::from(row_bytes * texture.height());
        let staging = self.gpu.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row_bytes), rows_per_image: None };
        let mut encoder = self.gpu.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let target = wgpu::TexelCopyBufferInfo { buffer: &staging, layout };
        encoder.copy_texture_to_buffer(texture.as_image_copy(), target, texture.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |result| result.expect("it can be mapped"));
        self.gpu.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
        let bytes = staging.get_mapped_range(..).expect("it is mapped").to_vec();
        bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }
}

/// Any weights of pixels that are there, of a sum near 1.
fn axis(random: &mut Random, source: usize, length: usize, taps: usize) -> ResizeAxis {
    let starts = random.indices(length, source);
    let weight = |value: f32| ((value + 0.9) / taps as f32 * (1 << 22) as f32) as i32;
    ResizeAxis { starts, weights: random.values(length * taps).into_iter().map(weight).collect() }
}

fn values(device: &Device, tensor: &Tensor) -> Vec<f32> {
    let mut recorder = Recorder::new(device);
    let input = recorder.input(tensor.shape()).expect("it fits");
    let output = recorder.activation(&input, Activation::None).expect("it fits");
    let output = recorder.output(&output).expect("it fits");
    let plan = recorder.finish().expect("the plan is made");
    let mut run = plan.run();
    run.copy_in(tensor, &input).expect("the shapes are equal");
    block_on(run.finish(&[&output])).expect("the plan runs").remove(0).values
}

/// The device's own probabilities of logits `[1, rows, columns]`, so that what is made of them has to be
/// equal.
fn probabilities(device: &Device, logits: &Tensor) -> Vec<f32> {
    let (height, width) = (logits.shape()[1], logits.shape()[2]);
    run(device, |recorder| {
        let whole = clipseg_tensor::Tile { height, width, rows: 0..height, columns: 0..width };
        let resized = recorder.bilinear_resize(logits, &whole, &whole)?;
        recorder.sigmoid(&resized)
    })
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn resized_photos_equal_the_twins(
        seed in any::<u64>(),
        (height, width) in (ragged(), ragged()),
        (rows, columns) in (ragged(), ragged()),
        (taps_across, taps_down) in (1..9_usize, 1..9_usize),
        (down_first, is_bgra) in (any::<bool>(), any::<bool>()),
    ) {
        let random = &mut Random(seed);
        let host = host();
        let texels = random.indices(4 * height * width, 256);
        let resizing = PhotoResizing {
            size: (height, width),
            across: axis(random, width, columns, taps_across),
            down: axis(random, height, rows, taps_down),
            down_first,
            table: random.values(768),
        };
        let format = if is_bgra { Bgra8Unorm } else { Rgba8Unorm };
        let bytes: Vec<u8> = texels.iter().map(|&byte| byte as u8).collect();
        let texture = host.photo(format, height, width, &bytes);
        let resize = PhotoResize::new(&host.device, resizing.clone()).expect("it fits");
        let found = values(&host.device, &resize.run(&texture).expect("it can be read"));

        let mut photo: Vec<f32> = texels.iter().map(|&byte| byte as f32 / 255.0).collect();
        if is_bgra {
            photo.chunks_exact_mut(4).for_each(|texel| texel.swap(0, 2));
        }
        let PhotoResizing { across, down, table, .. } = &resizing;
        let (first, second) = if down_first { (down, across) } else { (across, down) };
        let between = if down_first { (rows, width) } else { (height, columns) };
        let params = resize_photo::Params {
            height: height as u32,
            width: width as u32,
            length: first.starts.len() as u32,
            taps: (first.weights.len() / first.starts.len()) as u32,
            is_vertical: u32::from(down_first),
            is_srgb: 0,
        };
        let mut picture = vec![0; between.0 * between.1];
        twins::resize_photo(&params, &photo, &first.starts, &first.weights, &mut picture);
        let params = resize_bytes::Params {
            height: between.0 as u32,
            width: between.1 as u32,
            length: second.starts.len() as u32,
            taps: (second.weights.len() / second.starts.len()) as u32,
            is_vertical: u32::from(!down_first),
        };
        let mut expected = vec![0.0; 3 * rows * columns];
        twins::resize_bytes(&params, &picture, &second.starts, &second.weights, table, &mut expected);
        prop_assert!(found == expected);
    }

    #[test]
    fn packed_masks_equal_the_twin(
        seed in any::<u64>(),
        (height, width) in (ragged(), ragged()),
        threshold in prop::option::of(0.1..0.9_f32),
        texels in 0..3_usize,
    ) {
        let host = host();
        let logits: Vec<f32> = Random(seed).values(height * width).iter().map(|value| 8.0 * value).collect();
        let (texels, format, bits) = [
            (MaskTexels::Bits8, R8Unorm, 8),
            (MaskTexels::Bits16, R16Float, 16),
            (MaskTexels::Bits32, R32Float, 32),
        ][texels];
        let size = (height, width);
        let writer = MaskWriter::new(&host.device, size, size, texels, true).expect("it fits");
        let texture = host.texture(format, height, width);
        let tensor = host.device.upload(&[1, height, width], &logits).expect("it fits");
        let values = threshold.map_or(MaskValues::Probability, MaskValues::Threshold);
        writer.run(&tensor, 0, MaskTarget::Texture(&texture), values).expect("it can be written");

        let probabilities = probabilities(&host.device, &tensor);
        let stride = (width * bits as usize).div_ceil(32).next_multiple_of(64);
        let params = pack_mask::Params {
            height: height as u32,
            width: width as u32,
            stride: stride as u32,
            bits,
            has_threshold: u32::from(threshold.is_some()),
            threshold: threshold.unwrap_or(0.0),
        };
        let mut expected = vec![0; height * stride];
        twins::pack_mask(&params, &probabilities, &mut expected);
        let mut found = host.padded_rows(&texture, 4 * stride as u32);
        // What a copy leaves behind the end of a row is nobody's.
        let row_bits = width * bits as usize;
        for row in found.chunks_exact_mut(stride) {
            row[row_bits.div_ceil(32)..].fill(0);
            if !row_bits.is_multiple_of(32) {
                row[row_bits / 32] &= (1 << (row_bits % 32)) - 1;
            }
        }
        prop_assert!(found == expected);
    }

    #[test]
    fn overlays_equal_the_twin(
        seed in any::<u64>(),
        (height, width) in (ragged(), ragged()),
        other_size in prop::option::of((ragged(), ragged())),
        threshold in prop::option::of(0.1..0.9_f32),
        (eighths, outline, colour) in (0..9_u8, 0..4_u32, any::<[u8; 3]>()),
        (photo_format, format) in (0..4_usize, 0..4_usize),
    ) {
        let random = &mut Random(seed);
        let host = host();
        let logits: Vec<f32> = random.values(height * width).iter().map(|value| 8.0 * value).collect();
        let (rows, columns) = other_size.unwrap_or((height, width));
        let bytes: Vec<u8> =
            random.indices(4 * rows * columns, 256).into_iter().map(|byte| byte as u8).collect();
        let formats = [Rgba8Unorm, Bgra8Unorm, Rgba8UnormSrgb, Bgra8UnormSrgb];
        let is_bgra = [photo_format, format].map(|place| place % 2 == 1);
        let photo = host.photo(formats[photo_format], rows, columns, &bytes);
        let target = host.texture(formats[format], height, width);
        let overlay = Overlay {
            colour,
            opacity: f32::from(eighths) / 8.0,
            values: threshold.map_or(MaskValues::Probability, MaskValues::Threshold),
            outline,
        };
        let writer = OverlayWriter::new(&host.device, (height, width), (height, width)).expect("it fits");
        let logits = host.device.upload(&[1, height, width], &logits).expect("it fits");
        writer.run(&logits, 0, &photo, &target, &overlay).expect("it can be written");

        // As the kernel reads it, with sRGB undone before.
        let mut photo: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        if is_bgra[0] {
            photo.chunks_exact_mut(4).for_each(|texel| texel.swap(0, 2));
        }
        let [red, green, blue] = colour;
        let stride = width.next_multiple_of(64);
        let params = overlay_mask::Params {
            height: height as u32,
            width: width as u32,
            stride: stride as u32,
            photo_height: rows as u32,
            photo_width: columns as u32,
            scale_down: rows as f32 / height as f32,
            scale_across: columns as f32 / width as f32,
            is_srgb: 0,
            is_bgra: u32::from(is_bgra[1]),
            has_threshold: u32::from(threshold.is_some()),
            threshold: threshold.unwrap_or(0.0),
            opacity: overlay.opacity,
            outline,
            colour: u32::from_le_bytes([red, green, blue, 0]),
        };
        let mut expected = vec![0; height * stride];
        twins::overlay_mask(&params, &photo, &probabilities(&host.device, &logits), &mut expected);
        let found = host.padded_rows(&target, 4 * stride as u32);
        // Where every number is exact, so is the byte; else the last digit may decide how it is rounded.
        let is_exact = other_size.is_none() && threshold.is_some() && photo_format < 2;
        for (found, expected) in found.chunks_exact(stride).zip(expected.chunks_exact(stride)) {
            for (found, expected) in found[..width].iter().zip(&expected[..width]) {
                for (found, expected) in found.to_le_bytes().into_iter().zip(expected.to_le_bytes()) {
                    prop_assert!(found.abs_diff(expected) <= u8::from(!is_exact), "{found}, {expected}");
                }
            }
        }
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let Host { device, .. } = host();
    let axis = |starts: &[u32], weights: usize| ResizeAxis {
        starts: starts.to_vec(),
        weights: vec![1 << 22; weights],
    };
    let resizing = |across: ResizeAxis, table: usize| PhotoResizing {
        size: (2, 2),
        across,
        down: axis(&[0, 1], 2),
        down_first: false,
        table: vec![0.0; table],
    };
    assert!(PhotoResize::new(&device, resizing(axis(&[0, 1], 4), 768)).is_ok());
    for refused in [
        resizing(axis(&[0, 2], 2), 768),
        resizing(axis(&[0, 1], 3), 768),
        resizing(axis(&[0, 1], 0), 768),
        resizing(axis(&[], 0), 768),
        resizing(axis(&[0, 1], 2), 767),
    ] {
        let refused = PhotoResize::new(&device, refused).map(|_| ());
        assert!(matches!(refused, Err(clipseg_tensor::Error::Shape { .. })), "{refused:?}");
    }
}
