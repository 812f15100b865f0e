//! The memory that is needed, told beforehand; the memory that is in use afterwards; and work within a
//! budget.

use clipseg::{
    AdapterChoice, Array, Checkpoint, ClipSeg, ClipSegConfig, Condition, Device, DeviceError, DeviceOptions,
    Error, ImageInput, MemoryUse, Photo, Precision, Refinement, Result, Segmentation, VisionEncoder,
};
use clipseg_tests::{assert_close, fixture, load as load_tiny, open_alone, random};

fn open(memory_budget: Option<u64>) -> Device {
    Device::open(&DeviceOptions { memory_budget, ..DeviceOptions::default() }).expect("an adapter")
}

fn load(device: &Device) -> Result<ClipSeg> {
    ClipSeg::from_pretrained(device, fixture("clipseg-shapes"))
}

fn photo() -> Photo {
    let scene = clipseg_shapes::Scene::new(34, 0);
    Photo::from_rgb(clipseg_shapes::SIZE, clipseg_shapes::SIZE, scene.pixels).expect("a scene is a photo")
}

/// Prompts of as many tokens as the model reads.
fn longest(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number} {}", "a red star ".repeat(40))).collect()
}

fn segment(model: &ClipSeg, photo: &Photo, prompts: &[String]) -> Result<Segmentation> {
    let scene = model.encode_image(photo)?;
    model.segment(&scene, prompts)?.resized(photo.width(), photo.height())
}

#[test]
fn what_is_needed_is_what_is_used() {
    for (width, height, prompts) in [(100, 80, 1), (300, 200, 5), (640, 900, 24)] {
        let device = open_alone();
        let model = load(&device).unwrap();
        let photo = photo().resized(width, height, clipseg::Resample::Bilinear);
        let needed = model.memory_needed(width, height, prompts).unwrap();
        assert_eq!(device.memory_use().total(), device.memory_use().weights, "nothing is taken");
        let scene = model.encode_image(&photo).unwrap();
        let found = model.segment(&scene, &longest(prompts)).unwrap().resized(width, height).unwrap();
        let used = device.memory_use();
        assert_eq!((used.weights, used.encoded_images), (needed.weights, needed.encoded_images));
        // Prompts that begin alike could take a little more than these.
        assert!(used.plans <= needed.plans && 20 * used.plans >= 19 * needed.plans, "{used:?} {needed:?}");
        // A small result is read back through the buffer that a large one has left.
        assert!(used.read_back <= needed.read_back, "{used:?} {needed:?}");
        assert!(10 * used.total() >= 9 * needed.total(), "{used:?} {needed:?}");
        drop((scene, found));
        assert_eq!(model.memory_needed(width, height, prompts).unwrap().plans, used.plans, "all is there");
    }
}

/// What a model needs is told whole, not tensor by tensor.
#[test]
fn weights_that_do_not_fit_are_counted_together() {
    for adapter in [AdapterChoice::Processor, AdapterChoice::default()] {
        for precision in [Precision::Auto, Precision::F32, Precision::F16] {
            let options = DeviceOptions { adapter: adapter.clone(), precision, ..DeviceOptions::default() };
            let device = Device::open(&options).unwrap();
            let _model = load(&device).unwrap();
            let all = device.memory_use().weights;
            for part in [0.1, 0.5, 0.95] {
                let budget = Some((part * all as f64) as u64);
                let tight =
                    Device::open(&DeviceOptions { memory_budget: budget, ..options.clone() }).unwrap();
                match load(&tight).err() {
                    Some(Error::Device(DeviceError::OverBudget { needed, .. })) => {
                        let share = needed as f64 / all as f64;
                        assert!((0.98..=1.02).contains(&share), "{precision:?}: {needed} of {all}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

/// Positions that are resized to the grid of an image lie in memory as long as its plan.
#[test]
fn resized_positions_count() {
    let device = open_alone();
    let vision = load_vision(&device);
    let config = ClipSegConfig::from_file(fixture("tiny-simple")).unwrap().vision_config;
    let side = config.image_size + 3 * config.patch_size;
    let before = device.memory_use().total();
    let needed = vision.memory_needed(1, side, side).unwrap();
    let pixels = random(3, 3 * side * side);
    let image = ImageInput { pixel_values: &pixels, batch: 1, height: side, width: side };
    let encoded = pollster::block_on(vision.encode(image)).unwrap();
    let used = device.memory_use();
    assert_eq!((used.plans, used.encoded_images), (needed.plans, needed.encoded_images));
    assert_eq!(vision.memory_needed(1, side, side).unwrap().plans, 0, "all is there");
    drop((encoded, vision));
    device.trim();
    assert!(device.memory_use().total() < before, "nothing is left");
}

/// More texts than an adapter takes at once, and more prompts than it decodes at once, go in parts.
#[test]
fn any_number_of_prompts_is_taken() {
    let device = open_alone();
    let model = load(&device).unwrap();
    let needed = model.memory_needed(64, 64, 1000).unwrap();
    assert!(needed.total() > needed.weights);
    let together = model.encode_text(&longest(300)).unwrap();
    let alone = open_alone();
    let alone = load(&alone).unwrap().encode_text(&longest(300)[299..]).unwrap();
    assert_close(together.embeddings.slice(299), alone.embeddings.slice(0), 1e-4);
}

/// More pictures than an adapter takes at once go in parts too.
#[test]
fn any_number_of_pictures_is_taken() {
    let device = open_alone();
    let model = load_tiny(&device, "tiny-simple");
    let values = 3 * 32 * 32;
    let count = device.row_limit().map_or(1000, |rows| rows / 17 + 40);
    let pixels = random(5, count * values);
    let embed = |pixel_values: &[f32]| {
        let batch = pixel_values.len() / values;
        let images = ImageInput { pixel_values, batch, height: 32, width: 32 };
        pollster::block_on(model.encode_image_prompt(images)).unwrap()
    };
    let (together, alone) = (embed(&pixels), embed(&pixels[(count - 1) * values..]));
    assert_eq!(together.len(), count);
    assert_close(together.embeddings.slice(count - 1), alone.embeddings.slice(0), 1e-4);
}

/// A budget's error says what a prompt in pictures takes in all, not what its first tensor takes.
#[test]
fn what_a_picture_needs_is_told() {
    let weights = {
        let device = open(None);
        let _model = load_tiny(&device, "tiny-simple");
        device.memory_use().weights
    };
    let budget = weights + 1000;
    let model = load_tiny(&open(Some(budget)), "tiny-simple");
    let pixel_values = random(6, 3 * 64 * 64);
    let images = ImageInput { pixel_values: &pixel_values, batch: 1, height: 64, width: 64 };
    match pollster::block_on(model.encode_image_prompt(images)) {
        Err(Error::Device(DeviceError::OverBudget { needed, .. })) => {
            let needs = load_vision(&open(None)).embedding_memory_needed(1, 64, 64).unwrap();
            assert_eq!(needed, weights + needs.total());
        }
        other => panic!("{other:?}"),
    }
}

/// For a grid that is not the trained one, positions are resized while a plan is recorded.
#[test]
fn what_only_counts_takes_nothing_and_does_nothing() {
    let device = open_alone();
    let model = load_tiny(&device, "tiny-simple");
    let vision = load_vision(&device);
    let before = (device.resources_created(), device.submissions(), device.memory_use());
    let needed = model.memory_needed((64, 96), 2, 5).unwrap();
    let embedding = vision.embedding_memory_needed(3, 64, 96).unwrap();
    assert!(needed.plans > 0 && embedding.plans > 0);
    assert_eq!((device.resources_created(), device.submissions(), device.memory_use()), before);
}

/// The vision tower of a tiny model, with its projection.
fn load_vision(device: &Device) -> VisionEncoder {
    let checkpoint = Checkpoint::open(fixture("tiny-simple")).expect("a committed checkpoint");
    let config = ClipSegConfig::from_file(fixture("tiny-simple")).expect("a committed checkpoint");
    let (vision, width) = (&config.vision_config, Some(config.projection_dim));
    let prefix = checkpoint.clip_prefix().expect("a committed checkpoint");
    VisionEncoder::load(device, &checkpoint, prefix, vision, width, &config.extract_layers)
        .expect("a committed checkpoint")
}

#[test]
fn what_is_trimmed_is_given_back_and_made_again() {
    let device = open_alone();
    let model = load(&device).unwrap();
    let weights = device.memory_use();
    let expected = segment(&model, &photo(), &longest(3)).unwrap();
    assert!(device.memory_use().plans > 0 && device.memory_use().encoded_images > 0);
    device.trim();
    assert_eq!(device.memory_use(), weights);
    let scene = model.encode_image(&photo()).unwrap();
    device.trim();
    let MemoryUse { plans, encoded_images, read_back, .. } = device.memory_use();
    assert!(plans == 0 && read_back == 0 && encoded_images > 0, "an encoded image stays");
    let found = model.segment(&scene, &longest(3)).unwrap();
    let found = found.resized(photo().width(), photo().height()).unwrap();
    assert_eq!(found.logits(), expected.logits());
}

#[test]
fn whatever_the_budget_masks_are_right_or_refused() {
    let (prompts, photo) = (longest(24), photo().resized(500, 400, clipseg::Resample::Bilinear));
    let device = open(None);
    let model = load(&device).unwrap();
    let all = |model: &ClipSeg| -> Result<[Segmentation; 2]> {
        let maps = segment(model, &photo, &prompts)?;
        let scene = model.encode_image(&photo)?;
        Ok([maps, model.segment(&scene, &prompts[..1])?.refined(&photo, Refinement::default())?])
    };
    let needed = model.memory_needed(photo.width(), photo.height(), prompts.len()).unwrap();
    let expected = all(&model).unwrap();
    let (mut fitted, mut refused) = (0, 0);
    for percent in [2, 10, 20, 35, 50, 70, 100, 200] {
        let budget = needed.weights + (needed.total() - needed.weights) * percent / 100;
        let device = open(Some(budget));
        let model = load(&device).unwrap();
        for _ in 0..2 {
            match all(&model) {
                Ok(found) => {
                    for (found, expected) in found.iter().zip(&expected) {
                        assert_close(&found.logits().values, &expected.logits().values, 1e-4);
                    }
                    fitted += 1;
                }
                Err(Error::Device(DeviceError::OverBudget { needed, budget: named })) => {
                    assert!(named == budget && needed > budget, "{needed} {named} {budget}");
                    assert!(percent < 35, "{percent} % are enough for fewer prompts at once");
                    refused += 1;
                }
                Err(error) => panic!("{percent} %: {error}"),
            }
            assert!(device.memory_use().total() <= budget);
        }
    }
    assert!(fitted > 0 && refused > 0, "{fitted} {refused}");
}

#[test]
fn threads_share_a_budget() {
    let (prompts, photo) = (longest(6), photo());
    let unbounded = open_alone();
    let model = load(&unbounded).unwrap();
    let needed = model.memory_needed(photo.width(), photo.height(), prompts.len()).unwrap();
    let expected = segment(&model, &photo, &prompts).unwrap();
    let budget = needed.total() + needed.encoded_images;
    let device = open(Some(budget));
    let model = load(&device).unwrap();
    let work = || {
        for _ in 0..5 {
            match segment(&model, &photo, &prompts) {
                Ok(found) => assert_close(&found.logits().values, &expected.logits().values, 1e-4),
                // Memory that other threads use at the moment cannot be freed.
                Err(Error::Device(DeviceError::OverBudget { .. })) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(device.memory_use().total() <= budget);
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let found = segment(&model, &photo, &prompts).unwrap();
    assert_close(&found.logits().values, &expected.logits().values, 1e-4);
}

#[test]
fn weights_beyond_the_budget_are_refused_and_leave_nothing() {
    let device = open(Some(1_000_000));
    let error = load(&device).err().unwrap();
    let message = error.to_string();
    assert!(matches!(error, Error::Device(DeviceError::OverBudget { .. })), "{message}");
    assert!(message.contains("1.0 MB") && message.contains("--memory"), "{message}");
    assert_eq!(device.memory_use(), MemoryUse::default());
}

/// The complex upsampling gives another number of pixels per patch than the patch has.
#[test]
fn logits_are_of_the_size_that_is_counted_beforehand() {
    for name in ["tiny-simple", "tiny-patch8-complex", "tiny-patch14-complex"] {
        let device = open_alone();
        let model = load_tiny(&device, name);
        let width = model.config().projection_dim;
        let needed = model.memory_needed((70, 42), 3, 5).unwrap();
        let pixel_values = random(1, 3 * 70 * 42);
        let images = ImageInput { pixel_values: &pixel_values, batch: 1, height: 70, width: 42 };
        let image = pollster::block_on(model.encode_image(images)).unwrap();
        let condition = |prompts: usize| {
            let values = random(2, prompts * width);
            Condition { embeddings: Array { shape: vec![prompts, width], values } }
        };
        let logits = pollster::block_on(model.decode(&image, &condition(3))).unwrap();
        let read_back = 4 * (3 * width + logits.values.len()) as u64;
        assert_eq!(needed.read_back, read_back, "{name}: of embeddings and logits");
        let none = pollster::block_on(model.decode(&image, &condition(0))).unwrap();
        assert_eq!(none.shape[1..], logits.shape[1..], "{name}: of no prompts");
    }
}

#[test]
fn sizes_that_no_memory_holds_are_refused() {
    let device = open_alone();
    let model = load(&device).unwrap();
    let tensors = |size, texts, length| model.model().memory_needed(size, texts, length);
    let half = 1 << (usize::BITS / 2);
    for side in [half, usize::MAX / 8, usize::MAX] {
        assert!(tensors((side, side), 0, 0).is_err());
        assert!(tensors((64, 64), side, side).is_err());
        assert!(tensors((64, 64), 1, side).is_err());
        assert!(matches!(model.memory_needed(side, side, 1), Err(Error::Input(_))));
    }
    let logits = |shape: &[usize]| {
        Segmentation::from_logits(&device, Array { shape: shape.to_vec(), values: Vec::new() })
    };
    assert!(logits(&[0, 4, 4]).is_ok());
    for shape in [[half, half, 1], [0, half, half], [half, half, 0]] {
        assert!(matches!(logits(&shape), Err(Error::Input(_))), "{shape:?}");
    }
    let found = segment(&model, &photo(), &longest(1)).unwrap();
    for (width, height) in [(half, half), (1 << 16, 1 << 15), (usize::MAX, 2)] {
        assert!(matches!(found.resized(width, height), Err(Error::Input(_))), "{width} by {height}");
    }
}
