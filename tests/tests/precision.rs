//! What storing weights in halves changes: nothing where they are halves, little where they are not, and the memory.

use clipseg::{
    ClipSegForImageSegmentation, Device, DeviceOptions, ImageInput, KernelFamily, Precision, TextInput,
};
use clipseg_tests::{assert_close, load, random, random_ids};
use pollster::block_on;

const FAMILIES: [KernelFamily; 2] = [KernelFamily::Auto, KernelFamily::Classic];

/// The logits of a random picture for two random prompts, and the bytes of weights on the device.
fn run(kernels: KernelFamily, precision: Precision, name: &str, side: usize) -> (Vec<f32>, u64) {
    let options = DeviceOptions { kernels, precision, ..DeviceOptions::default() };
    let device = Device::open(&options).expect("these tests need an adapter");
    let model: ClipSegForImageSegmentation = load(&device, name);
    let ids = random_ids(2, 2, 7, model.config().text_config.eos_token_id);
    let text = TextInput { input_ids: &ids, length: 7, attention_mask: None, position_ids: None };
    let pixels = random(1, 3 * side * side);
    let image = ImageInput { pixel_values: &pixels, batch: 1, height: side, width: side };
    let scene = block_on(model.encode_image(image)).expect("a picture");
    let condition = block_on(model.encode_text(text)).expect("ids of the vocabulary");
    let logits = block_on(model.decode(&scene, &condition)).expect("logits").values;
    (logits, device.memory_use().weights)
}

#[test]
fn a_checkpoint_in_f16_gives_the_same_from_half_the_memory() {
    for kernels in FAMILIES {
        let run = |precision| run(kernels, precision, "clipseg-shapes", 128);
        let (full, full_bytes) = run(Precision::F32);
        let (halves, halves_bytes) = run(Precision::Auto);
        // Halves become the same floats when they are read; another kernel may sum them in another order.
        assert_close(&halves, &full, 1e-5);
        // The token embedding, a third of this model, and biases stay as they are.
        assert!(3 * halves_bytes < 2 * full_bytes + full_bytes / 4, "{halves_bytes} of {full_bytes}");
    }
}

#[test]
fn a_checkpoint_in_f32_is_stored_as_it_is_unless_asked() {
    for kernels in FAMILIES {
        let run = |precision| run(kernels, precision, "tiny-complex", 48);
        let (full, full_bytes) = run(Precision::F32);
        let (auto, auto_bytes) = run(Precision::Auto);
        assert!(auto == full && auto_bytes == full_bytes, "{auto_bytes} of {full_bytes}");
        let (rounded, rounded_bytes) = run(Precision::F16);
        assert!(rounded != full && rounded_bytes < full_bytes, "{rounded_bytes} of {full_bytes}");
        let correlation = correlation(&rounded, &full);
        assert!(correlation >= 0.9999, "{correlation}");
    }
}

/// Pearson's.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean = |values: &[f32]| values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let deviations = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - mean_a, f64::from(b) - mean_b));
    let (mut product, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (a, b) in deviations {
        product += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    product / (square_a * square_b).sqrt()
}
