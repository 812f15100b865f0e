//! Photos from a host's textures and masks into them, on the host's device.

mod overlay;

use clipseg::{
    ClipSeg, DeviceError, DeviceOptions, Error, MaskValues, Photo, PreprocessorConfig, Processor, Resample,
    wgpu,
};
use clipseg_tensor::{Activation, PhotoResize, Recorder, Tensor};
use clipseg_testing::Random;
use clipseg_tests::fixture;
use clipseg_tests::host::Host;
use half::f16;
use pollster::block_on;
use wgpu::TextureFormat::{
    Bgra8Unorm, Bgra8UnormSrgb, R8Unorm, R16Float, R32Float, Rgba8Unorm, Rgba8UnormSrgb, Rgba16Float,
};

const MODEL: &str = "clipseg-shapes";
const SAMPLED: wgpu::TextureUsages = wgpu::TextureUsages::TEXTURE_BINDING;
const TARGET: wgpu::TextureUsages = wgpu::TextureUsages::COPY_DST.union(wgpu::TextureUsages::COPY_SRC);

fn model(host: &Host) -> ClipSeg {
    let device = host.engine(&DeviceOptions::default()).expect("the device has all that is needed");
    ClipSeg::from_pretrained(&device, fixture(MODEL)).expect("the committed model")
}

fn scene(index: u64) -> Photo {
    let scene = clipseg_shapes::Scene::new(33, index);
    Photo::from_rgb(clipseg_shapes::SIZE, clipseg_shapes::SIZE, scene.pixels).expect("a scene is a photo")
}

/// Random bytes, with high contrast from pixel to pixel.
fn noise(width: usize, height: usize) -> Photo {
    Photo::from_rgb(width, height, Random(7).bytes(3 * width * height)).expect("a photo")
}

fn size(photo: &Photo) -> (u32, u32) {
    (photo.width() as u32, photo.height() as u32)
}

/// The values of a tensor.
fn values(device: &clipseg::Device, tensor: &Tensor) -> Vec<f32> {
    let mut recorder = Recorder::new(device);
    let input = recorder.input(tensor.shape()).expect("it fits");
    let output = recorder.activation(&input, Activation::None).expect("it fits");
    let output = recorder.output(&output).expect("it fits");
    let plan = recorder.finish().expect("the plan is made");
    let mut run = plan.run();
    run.copy_in(tensor, &input).expect("the shapes are equal");
    block_on(run.finish(&[&output])).expect("the plan runs").remove(0).values
}

#[test]
fn a_texture_gives_the_pixel_values_that_the_processor_gives() {
    let host = Host::plain();
    let device = host.engine(&DeviceOptions::default()).unwrap();
    let (mut compared, mut differing) = (0, 0);
    for resample in [
        Resample::Bilinear,
        Resample::Bicubic,
        Resample::Nearest,
        Resample::Lanczos,
        Resample::Box,
        Resample::Hamming,
    ] {
        let config = PreprocessorConfig { resample, ..PreprocessorConfig::default() };
        let processor = Processor::new(config).unwrap();
        // Larger and smaller sizes, wide and high ones, so that each axis is resized first in some of them,
        // and the model's own size.
        let all = [(97, 61), (33, 900), (1111, 40), (352, 352), (352, 17), (500, 352)];
        let sizes = if resample == Resample::Bilinear { &all[..] } else { &all[1..2] };
        for &(width, height) in sizes {
            let photo = noise(width, height);
            let resize = PhotoResize::new(&device, processor.photo_resizing(width, height)).unwrap();
            let expected = processor.preprocess(&photo).values;
            for format in [Rgba8Unorm, Bgra8Unorm, Rgba8UnormSrgb, Bgra8UnormSrgb] {
                let texture = host.photo(format, size(&photo), photo.rgb());
                let found = values(&device, &resize.run(&texture).unwrap());
                assert_eq!(found.len(), expected.len());
                if !format.is_srgb() {
                    assert!(found == expected, "{resample:?} {width} by {height} of {format:?}");
                    continue;
                }
                // One grey level in normalised values, at the channel whose deviation is the smallest.
                let level = 1.01 / 255.0 / 0.224;
                compared += found.len();
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() <= level, "{found}, expected {expected} ({format:?})");
                    differing += usize::from(found != expected);
                }
            }
        }
    }
    println!("of {compared} values of sRGB textures {differing} differ by a grey level");
    assert_eq!(host.told(), 0);
}

#[test]
fn a_mask_in_a_texture_is_that_of_the_way_over_host_memory() {
    let host = Host::plain();
    let model = model(&host);
    let photo = scene(0);
    let prompts = ["a red star", "something blue", "the orange ring"];
    let texture = host.photo(Rgba8UnormSrgb, size(&photo), photo.rgb());
    let condition = model.encode_text(&prompts).unwrap();
    let expected = model.decode(&model.encode_image(&photo).unwrap(), &condition).unwrap();
    let read_back = model.model().device().memory_use().read_back;

    let found = model.decode_on_device(&model.encode_texture(&texture).unwrap(), &condition).unwrap();
    assert_eq!((found.len(), found.height(), found.width()), (3, expected.height(), expected.width()));
    // Sizes whose rows are not multiples of the padding, larger and smaller than the logits.
    for (width, height) in [(size(&photo).0, size(&photo).1), (301, 95), (17, 3), (1, 1)] {
        let expected = expected.resized(width as usize, height as usize).unwrap();
        for prompt in 0..prompts.len() {
            let expected = expected.probabilities(prompt);
            for (format, texel, tolerance) in
                [(R8Unorm, 1, 0.5001 / 255.0), (R16Float, 2, 0.5001 / 2048.0), (R32Float, 4, 1e-6)]
            {
                let target = host.texture(format, (width, height), TARGET);
                let read = |values| {
                    found.write_mask(prompt, &target, values).unwrap();
                    floats(&host.bytes_of(&target, texel), texel)
                };
                let mask = read(MaskValues::Probability);
                assert_eq!(mask.len(), expected.len());
                for (found, expected) in mask.iter().zip(&expected) {
                    // The device's exponentials are good to a few units in the last place.
                    let close = (found - expected).abs() <= tolerance + 2e-6;
                    assert!(close, "{found}, expected {expected} in {format:?}");
                }
                let mask = read(MaskValues::Threshold(0.4));
                for (found, expected) in mask.iter().zip(&expected) {
                    let is_near = (expected - 0.4).abs() < 2e-6;
                    assert!(
                        is_near || *found == f32::from(u8::from(*expected >= 0.4)),
                        "{found}, {expected}"
                    );
                }
            }
            let buffer = buffer(&host, 4 * u64::from(width * height) + 8, wgpu::BufferUsages::COPY_DST);
            let to = (width as usize, height as usize);
            found.write_mask_to_buffer(prompt, to, &buffer, MaskValues::Probability).unwrap();
            let mask = floats(&host.bytes_of_buffer(&buffer), 4);
            for (found, expected) in mask.iter().zip(&expected) {
                assert!((found - expected).abs() <= 2e-6, "{found}, expected {expected} in a buffer");
            }
            assert_eq!(mask[expected.len()..], [0.0; 2], "nothing is written behind the mask");
        }
    }
    let after = model.model().device().memory_use().read_back;
    assert!(after > read_back, "the way over host memory reads back");
    model.model().device().trim();
    found.write_mask(0, &host.texture(R8Unorm, (9, 9), TARGET), MaskValues::Probability).unwrap();
    assert_eq!(model.model().device().memory_use().read_back, 0, "this way does not");
    assert_eq!(host.told(), 0);
}

fn buffer(host: &Host, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    host.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("host"),
        size,
        usage: usage | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// Texels of `texel` bytes each as numbers.
fn floats(bytes: &[u8], texel: u32) -> Vec<f32> {
    let texels = bytes.chunks(texel as usize);
    let number = |texel: &[u8]| match *texel {
        [byte] => f32::from(byte) / 255.0,
        [low, high] => f16::from_le_bytes([low, high]).to_f32(),
        _ => f32::from_le_bytes([texel[0], texel[1], texel[2], texel[3]]),
    };
    texels.map(number).collect()
}

/// The kind of an error, and its message.
#[track_caller]
fn kind<T>(result: clipseg::Result<T>) -> (&'static str, String) {
    let Err(error) = result else { panic!("it can be used") };
    let message = error.to_string();
    let kind = match error {
        Error::Device(DeviceError::Texture { .. }) => "texture",
        Error::Device(DeviceError::Buffer { .. }) => "buffer",
        Error::Device(DeviceError::OtherDevice { .. }) => "other device",
        Error::Device(DeviceError::Unsubmitted { .. }) => "unsubmitted",
        Error::Input(_) => "input",
        _ => "another",
    };
    (kind, message)
}

#[test]
fn what_cannot_be_used_is_told_with_what_to_change() {
    let host = Host::plain();
    let model = model(&host);
    let condition = model.encode_text(&["a red star"]).unwrap();
    let scene = model.encode_texture(&host.texture(Rgba8Unorm, (40, 30), SAMPLED)).unwrap();
    let found = model.decode_on_device(&scene, &condition).unwrap();
    let probability = MaskValues::Probability;

    let (kind_of, message) = kind(model.encode_texture(&host.texture(Rgba16Float, (40, 30), SAMPLED)));
    assert_eq!(kind_of, "texture");
    assert!(message.contains("Rgba16Float") && message.contains("Bgra8UnormSrgb"), "{message}");
    let (kind_of, message) = kind(model.encode_texture(&host.texture(Rgba8Unorm, (40, 30), TARGET)));
    assert_eq!(kind_of, "texture");
    assert!(message.contains("TEXTURE_BINDING"), "{message}");

    let (kind_of, message) =
        kind(found.write_mask(0, &host.texture(Rgba8Unorm, (40, 30), TARGET), probability));
    assert_eq!(kind_of, "texture");
    assert!(message.contains("Rgba8Unorm") && message.contains("R16Float"), "{message}");
    let (kind_of, message) =
        kind(found.write_mask(0, &host.texture(R8Unorm, (40, 30), SAMPLED), probability));
    assert_eq!(kind_of, "texture");
    assert!(message.contains("COPY_DST"), "{message}");

    let small = buffer(&host, 4 * 40 * 30 - 4, wgpu::BufferUsages::COPY_DST);
    let (kind_of, message) = kind(found.write_mask_to_buffer(0, (40, 30), &small, probability));
    assert_eq!(kind_of, "buffer");
    assert!(message.contains("4796 bytes") && message.contains("4800"), "{message}");
    let unwritable = buffer(&host, 4 * 40 * 30, wgpu::BufferUsages::STORAGE);
    assert_eq!(kind(found.write_mask_to_buffer(0, (40, 30), &unwritable, probability)).0, "buffer");

    let target = host.texture(R8Unorm, (40, 30), TARGET);
    assert_eq!(kind(found.write_mask(1, &target, probability)).0, "input");
    assert_eq!(kind(found.write_mask(0, &target, MaskValues::Threshold(f32::NAN))).0, "input");

    let other = Host::on(host.adapter.clone(), wgpu::Features::empty(), wgpu::Limits::default());
    assert_eq!(kind(model.encode_texture(&other.photo(Rgba8Unorm, (5, 7), &[0; 105]))).0, "other device");
    let foreign = other.texture(R8Unorm, (40, 30), TARGET);
    assert_eq!(kind(found.write_mask(0, &foreign, probability)).0, "other device");
    let foreign = buffer(&other, 4800, wgpu::BufferUsages::COPY_DST);
    assert_eq!(kind(found.write_mask_to_buffer(0, (40, 30), &foreign, probability)).0, "other device");
    // Textures of another instance, whose ids mean nothing here.
    let stranger = Host::plain();
    let many: Vec<_> = (0..500).map(|_| stranger.photo(Rgba8Unorm, (1, 1), &[0; 3])).collect();
    assert_eq!(kind(model.encode_texture(&many[499])).0, "other device");
    let many: Vec<_> = (0..500).map(|_| stranger.texture(R8Unorm, (40, 30), TARGET)).collect();
    assert_eq!(kind(found.write_mask(0, &many[499], probability)).0, "other device");

    let texture = host.texture(Rgba8Unorm, (40, 30), SAMPLED);
    texture.destroy();
    assert_eq!(kind(model.encode_texture(&texture)).0, "another");

    // None of these errors has reached a host's handler, and all still works.
    assert_eq!((host.told(), other.told()), (0, 0));
    found.write_mask(0, &target, probability).unwrap();
    let processor = clipseg::Device::open(&DeviceOptions {
        adapter: clipseg::AdapterChoice::Processor,
        ..DeviceOptions::default()
    });
    let on_processor = ClipSeg::from_pretrained(&processor.unwrap(), fixture(MODEL)).unwrap();
    assert_eq!(kind(on_processor.encode_texture(&target)).0, "other device");
}

#[test]
fn a_frame_is_submitted_by_the_host() {
    let host = Host::plain();
    let model = model(&host);
    let device = model.model().device();
    let condition = model.encode_text(&["a red star"]).unwrap();
    let photos = [scene(0), scene(1)];
    let textures = photos.each_ref().map(|photo| host.photo(Rgba8Unorm, size(photo), photo.rgb()));
    let size = size(&photos[0]);
    let targets = [0, 1].map(|_| host.texture(R8Unorm, size, TARGET));
    let frame = |place: usize| -> clipseg::Result<()> {
        let scene = model.encode_texture(&textures[place])?;
        let found = model.decode_on_device(&scene, &condition)?;
        found.write_mask(0, &targets[place], MaskValues::Probability)
    };
    let masks = || targets.each_ref().map(|target| host.bytes_of(target, 1));
    // The masks when the engine submits by itself, in the order of the photos.
    let expected = [0, 1].map(|place| {
        frame(place).unwrap();
        host.bytes_of(&targets[place], 1)
    });
    assert!(expected[0] != expected[1], "or nothing would be tested");

    // How long a frame takes, compared with the way over host memory: the photo is preprocessed on the
    // processor, and the mask is read back and uploaded.
    let mean = |work: &dyn Fn()| {
        let begin = std::time::Instant::now();
        (0..5).for_each(|_| work());
        begin.elapsed() / 5
    };
    let on_device = mean(&|| {
        frame(0).unwrap();
        device.wait().unwrap();
    });
    let over_host = mean(&|| {
        let photo = scene(0);
        let found = model.decode(&model.encode_image(&photo).unwrap(), &condition).unwrap();
        let mask = found.resized(size.0 as usize, size.1 as usize).unwrap().probabilities(0);
        let bytes: Vec<_> = mask.iter().map(|value| (value * 255.0 + 0.5) as u8).collect();
        let target = &targets[1];
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(size.0), rows_per_image: None };
        host.queue.write_texture(target.as_image_copy(), &bytes, layout, target.size());
    });
    println!("a frame takes {on_device:?} on the device, {over_host:?} over host memory");

    let clear = || targets.each_ref().map(|target| clear(&host, target));
    clear();
    let [(_, first), (_, second)] = [0, 1].map(|place| device.commands(|| frame(place)).unwrap());
    // The same plans can be used meanwhile, with other inputs.
    assert!(model.decode(&model.encode_image(&photos[1]).unwrap(), &condition).is_ok());
    assert!(masks().iter().flatten().all(|&texel| texel == 0), "nothing is submitted yet");
    host.queue.submit(first.into_iter().chain(second));
    assert!(masks() == expected);

    clear();
    let failed = device.commands(|| {
        frame(0)?;
        model.decode(&model.encode_texture(&textures[0])?, &condition).map(|_| ())
    });
    assert_eq!(kind(failed.map(|_| ())).0, "unsubmitted");
    let (_, dropped) = device.commands(|| frame(0)).unwrap();
    drop(dropped);
    assert!(masks().iter().flatten().all(|&texel| texel == 0), "what is dropped is not done");
    frame(1).unwrap();
    assert!(masks()[1] == expected[1], "and harms nothing");
    assert_eq!(host.told(), 0);
}

fn clear(host: &Host, target: &wgpu::Texture) {
    let layout =
        wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(target.width()), rows_per_image: None };
    let nothing = vec![0; (target.width() * target.height()) as usize];
    host.queue.write_texture(target.as_image_copy(), &nothing, layout, target.size());
}
