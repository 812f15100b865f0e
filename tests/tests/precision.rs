//! What storing in f16 changes. For weights: nothing if the checkpoint has them in f16, else little. For
//! activations: little. And the memory.

use std::path::Path;

use clipseg::{
    AdapterChoice, ClipSeg, ClipSegForImageSegmentation, Device, ImageInput, KernelFamily, Orientation,
    Photo, Precision, TextInput,
};
use clipseg_tests::{WAYS, assert_close, fixture, load, open, random, random_ids};
use pollster::block_on;

/// Where to run a model, and by which kernels.
type Way = (AdapterChoice, KernelFamily);

/// A driver's best adapter.
const DRIVER: AdapterChoice = AdapterChoice::Driver;

/// The logits of a random picture for two random prompts, and the bytes of weights on the device.
fn run((adapter, kernels): Way, precision: Precision, name: &str, side: usize) -> (Vec<f32>, u64) {
    let device = open(adapter, kernels, precision);
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
    // The processor computes with floats, whatever they were stored as.
    for way in [(DRIVER, KernelFamily::Auto), (DRIVER, KernelFamily::Workgroup)] {
        let run = |precision| run(way.clone(), precision, "clipseg-shapes", 128);
        let (full, full_bytes) = run(Precision::F32);
        let (halves, halves_bytes) = run(Precision::Auto);
        // Weights in f16 become the same floats when they are read; another kernel may sum them in another
        // order.
        assert_close(&halves, &full, 1e-5);
        // The token embedding, a third of this model, and the biases stay in f32.
        assert!(3 * halves_bytes < 2 * full_bytes + full_bytes / 4, "{halves_bytes} of {full_bytes}");
    }
}

#[test]
fn a_checkpoint_in_f32_is_stored_as_it_is_unless_asked() {
    for (adapter, kernels) in WAYS {
        let way = (adapter.clone(), kernels);
        let run = |precision| run(way.clone(), precision, "tiny-complex", 48);
        let (full, full_bytes) = run(Precision::F32);
        let (auto, auto_bytes) = run(Precision::Auto);
        assert!(auto == full && auto_bytes == full_bytes, "{auto_bytes} of {full_bytes}");
        let (rounded, rounded_bytes) = run(Precision::F16);
        let saves = rounded_bytes < full_bytes || adapter == AdapterChoice::Processor;
        assert!(rounded != full && saves, "{rounded_bytes} of {full_bytes}");
        let correlation = correlation(&rounded, &full);
        assert!(correlation >= 0.9999, "{correlation}");
    }
}

fn open_shapes(device: &Device) -> ClipSeg {
    ClipSeg::from_pretrained(device, fixture("clipseg-shapes")).expect("the committed model")
}

/// The logits and the mask of each prompt on a photo.
fn segment(model: &ClipSeg, photo: &Path, prompts: &[&str]) -> Vec<(Vec<f32>, Vec<bool>)> {
    let photo = Photo::open(photo, Orientation::Apply).expect("a committed photo");
    let scene = model.encode_image(&photo).expect("a scene");
    let found = model.segment(&scene, prompts).expect("a segmentation");
    let places = 0..prompts.len();
    places.map(|place| (found.logits().slice(place).to_vec(), found.mask(place, 0.5))).collect()
}

/// As [`segment`], of the committed scenes by the small trained model.
fn segment_scenes(kernels: KernelFamily, precision: Precision) -> Vec<(Vec<f32>, Vec<bool>)> {
    let model = open_shapes(&open(DRIVER, kernels, precision));
    let prompts =
        ["a dotted triangle", "a yellow square", "something orange", "a purple triangle", "the yellow cross"];
    let scenes = ["scene-1.png", "scene-2.png"].map(|name| clipseg_testing::fixture("shapes").join(name));
    scenes.iter().flat_map(|scene| segment(&model, scene, &prompts)).collect()
}

/// Fails unless all logits correlate and the masks, taken together, are the same but for one pixel in five
/// hundred.
#[track_caller]
fn assert_same(found: &[(Vec<f32>, Vec<bool>)], expected: &[(Vec<f32>, Vec<bool>)]) {
    assert_eq!(found.len(), expected.len());
    let [mut both, mut either] = [0, 0];
    for ((logits, mask), (expected, expected_mask)) in found.iter().zip(expected) {
        // Equal logits would mean that nothing was rounded.
        assert!(logits != expected);
        let correlation = correlation(logits, expected);
        assert!(correlation >= 0.9999, "{correlation}");
        let pairs = || mask.iter().zip(expected_mask);
        both += pairs().filter(|(a, b)| **a && **b).count();
        either += pairs().filter(|(a, b)| **a || **b).count();
    }
    let iou = both as f64 / either as f64;
    assert!(iou >= 0.998, "{iou}");
}

// This checkpoint's weights are in f16 anyway, so only the activations differ.
#[test]
fn activations_in_halves_give_the_same_masks() {
    let scenes = |precision| segment_scenes(KernelFamily::Workgroup, precision);
    assert_same(&scenes(Precision::F16), &scenes(Precision::F32));
}

// Weights made up from a seed give masks of many small spots, in which most pixels are near an edge: rounding
// the weights alone gives an IoU of 0.9987.
#[test]
#[ignore = "needs the checkpoint that `cargo xtask verify --full` makes in target/full, and minutes"]
fn a_model_of_the_published_size_gives_the_same_masks_in_halves() {
    let photos = ["coffee.jpg", "chelsea.png"].map(|name| clipseg_testing::fixture("photos").join(name));
    let prompts =
        ["a cup", "a spoon", "a wooden table", "a cat", "an eye", "grass", "whiskers", "the dark background"];
    let photos_in = |precision| -> Vec<_> {
        let device = open(DRIVER, KernelFamily::Workgroup, precision);
        let model = ClipSeg::from_pretrained(&device, clipseg_testing::fixture("../target/full"))
            .expect("it is there");
        photos.iter().flat_map(|photo| segment(&model, photo, &prompts)).collect()
    };
    assert_same(&photos_in(Precision::F16), &photos_in(Precision::F32));
}

#[test]
fn activations_in_halves_take_less_memory() {
    let plans = |precision| {
        let device = open(DRIVER, KernelFamily::Workgroup, precision);
        let model = open_shapes(&device);
        model.encode_text(&["a red circle"]).expect("a prompt");
        device.memory_use().plans
    };
    let (full, halves) = (plans(Precision::Auto), plans(Precision::F16));
    assert!(3 * halves < 2 * full, "{halves} of {full}");
}

// The textures of the subgroup kernels hold f32.
#[test]
fn activations_of_the_subgroup_kernels_stay_in_full() {
    if open(DRIVER, KernelFamily::Auto, Precision::Auto).kernels() == KernelFamily::Workgroup {
        return;
    }
    let scenes = |precision| segment_scenes(KernelFamily::Auto, precision);
    assert!(scenes(Precision::F16) == scenes(Precision::Auto));
}

/// Pearson's correlation.
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
