//! The example of that name does what it says, pixel by pixel.

#[allow(dead_code, reason = "its main reads arguments")]
#[path = "../examples/host_device.rs"]
mod example;

use clipseg::{AdapterChoice, ClipSeg, Device, DeviceOptions, Photo, PixelFormat};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");
/// What `cargo run --example host_device -- "the orange ring" crates/clipseg/tests/host_device.png` wrote.
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host_device.png");
const WIDTH: usize = example::SIZE.0 as usize;
const HEIGHT: usize = example::SIZE.1 as usize;

/// A value of sRGB, 0 to 255, as a linear one, and the other way round.
fn linear(stored: f64) -> f64 {
    let value = stored / 255.0;
    if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn stored(linear: f64) -> f64 {
    255.0 * if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

/// The middle of a pixel.
fn middle(place: usize) -> (f64, f64) {
    ((place % WIDTH) as f64 + 0.5, (place / WIDTH) as f64 + 0.5)
}

fn is_ring(place: usize) -> bool {
    let (x, y) = middle(place);
    (45.0..85.0).contains(&(x - 130.0).hypot(y - 150.0))
}

/// What the renderer draws there; no pixel's middle lies on an edge.
fn drawn(place: usize) -> [f64; 3] {
    let (x, y) = middle(place);
    let colour = if is_ring(place) {
        [240.0, 130.0, 25.0]
    } else if (x - 310.0).abs().max((y - 90.0).abs()) < 50.0 {
        [40.0, 70.0, 205.0]
    } else if (x - 310.0).hypot(y - 220.0) < 50.0 {
        [235.0, 215.0, 50.0]
    } else {
        [120.0, 118.0, 116.0]
    };
    colour.map(|value: f64| stored((value / 255.0).powf(2.2)))
}

/// The mask of a picture as the processor finds it, by the way over host memory.
fn found_by_the_processor(picture: &[u8], prompt: &str) -> Vec<f32> {
    let options = DeviceOptions { adapter: AdapterChoice::Processor, ..DeviceOptions::default() };
    let model = ClipSeg::from_pretrained(&Device::open(&options).expect("it needs no driver"), MODEL)
        .expect("the committed model");
    let photo = Photo::from_pixels(PixelFormat::Rgba8, WIDTH, HEIGHT, picture, 4 * WIDTH).expect("a photo");
    let found = model.segment(&model.encode_image(&photo).expect("it fits"), &[prompt]).expect("it fits");
    found.resized(WIDTH, HEIGHT).expect("it fits").probabilities(0)
}

#[test]
fn the_renderer_shows_the_ring_that_it_drew() {
    let [picture, mask, shown] = example::run("the orange ring").unwrap();
    assert_eq!(mask.len(), WIDTH * HEIGHT);
    let probabilities = found_by_the_processor(&picture, "the orange ring");
    let (mut both, mut either, mut drawn_over) = (0, 0, 0);
    for (place, (&found, probability)) in mask.iter().zip(probabilities).enumerate() {
        let (is_ring, is_found) = (is_ring(place), found >= 128);
        both += usize::from(is_ring && is_found);
        either += usize::from(is_ring || is_found);
        assert!((f32::from(found) - 255.0 * probability).abs() <= 1.0, "{found}, {probability} at {place}");
        // Magenta, by the mask's share of six tenths, as light adds up.
        let share = 0.6 * f64::from(found) / 255.0;
        for (channel, magenta) in [1.0, 0.0, 1.0].into_iter().enumerate() {
            let [picture, shown] = [&picture, &shown].map(|texels| f64::from(texels[4 * place + channel]));
            let drawn = drawn(place)[channel];
            assert!((picture - drawn).abs() <= 1.0, "drawn is {picture}, expected {drawn} at {place}");
            let expected = stored(linear(picture) * (1.0 - share) + magenta * share);
            assert!((shown - expected).abs() <= 1.0, "shown is {shown}, expected {expected} at {place}");
            drawn_over += usize::from(shown != picture);
        }
    }
    let overlap = both as f64 / either as f64;
    assert!(overlap > 0.9, "intersection over union of {overlap}");
    assert!(drawn_over > 10_000, "{drawn_over}");

    // The file holds what is shown, and that is what it was before, within a grey level.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shown.png");
    example::save(&path, &shown).unwrap();
    let [saved, expected] = [path.as_path(), PICTURE.as_ref()]
        .map(|path: &std::path::Path| image::open(path).unwrap().into_rgb8());
    let texels = shown.chunks_exact(4).flat_map(|texel| &texel[..3]);
    assert!(saved.iter().eq(texels));
    assert_eq!(saved.dimensions(), expected.dimensions());
    let mut differing = 0;
    for (place, (saved, expected)) in saved.iter().zip(expected.iter()).enumerate() {
        assert!(saved.abs_diff(*expected) <= 1, "{saved}, expected {expected} at {}", place / 3);
        differing += usize::from(saved != expected);
    }
    println!(
        "an overlap of {overlap:.3}; {differing} bytes differ by a grey level from the committed picture"
    );
}
