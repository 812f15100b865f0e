//! What callers rely on, whatever the shapes: batches equal single calls, a scene may be kept and shared, and
//! both families of kernels agree.

use clipseg::{Array, ClipSegForImageSegmentation, Condition, Error, ImageInput, TextInput};
use clipseg_tests::{DEVICE, PROCESSOR, WORKGROUP, assert_close, load, random, random_ids};
use pollster::block_on;

const SIDE: usize = 48;
const LENGTH: usize = 7;
const MODEL: &str = "tiny-complex";

fn image(pixels: &[f32], batch: usize) -> ImageInput<'_> {
    ImageInput { pixel_values: pixels, batch, height: SIDE, width: SIDE }
}

fn text(ids: &[u32]) -> TextInput<'_> {
    TextInput { input_ids: ids, length: LENGTH, attention_mask: None, position_ids: None }
}

fn end_token(model: &ClipSegForImageSegmentation) -> u32 {
    model.config().text_config.eos_token_id
}

fn prompts(model: &ClipSegForImageSegmentation, seed: u64, count: usize) -> Condition {
    block_on(model.encode_text(text(&random_ids(seed, count, LENGTH, end_token(model)))))
        .expect("ids of the vocabulary")
}

fn pixels(seed: u64, batch: usize) -> Vec<f32> {
    random(seed, batch * 3 * SIDE * SIDE)
}

fn one_of(condition: &Condition, prompt: usize) -> Condition {
    let values = condition.embeddings.slice(prompt).to_vec();
    Condition { embeddings: Array { shape: vec![1, values.len()], values } }
}

#[test]
fn many_prompts_equal_one_at_a_time() {
    let model = load(&DEVICE, MODEL);
    let scene = block_on(model.encode_image(image(&pixels(1, 1), 1))).unwrap();
    let condition = prompts(&model, 2, 5);
    let together = block_on(model.decode(&scene, &condition)).unwrap();
    assert_eq!(together.shape, [5, SIDE, SIDE]);
    for prompt in 0..5 {
        let alone = block_on(model.decode(&scene, &one_of(&condition, prompt))).unwrap();
        assert_close(&alone.values, together.slice(prompt), 1e-5);
    }
    assert_ne!(together.slice(0), together.slice(1), "prompts matter");
}

#[test]
fn texts_of_a_batch_equal_single_texts() {
    let model = load(&DEVICE, MODEL);
    let ids = random_ids(3, 3, LENGTH, end_token(&model));
    let together = block_on(model.encode_text(text(&ids))).unwrap();
    for prompt in 0..3 {
        let alone = block_on(model.encode_text(text(&ids[prompt * LENGTH..(prompt + 1) * LENGTH]))).unwrap();
        assert_close(&alone.embeddings.values, together.embeddings.slice(prompt), 1e-5);
    }
}

// Texts of different lengths are packed. Padded as transformers pads them they are not, but the result is the
// same.
#[test]
fn texts_of_different_lengths_equal_single_texts() {
    let model = load(&DEVICE, MODEL);
    let end = end_token(&model);
    let lengths = [3, LENGTH, 2, 5];
    let texts: Vec<_> = (20..).zip(lengths).map(|(seed, length)| random_ids(seed, 1, length, end)).collect();
    let mut input_ids = Vec::new();
    let mut attention_mask = Vec::new();
    for text in &texts {
        input_ids.extend((0..LENGTH).map(|place| text.get(place).copied().unwrap_or(end)));
        attention_mask.extend((0..LENGTH).map(|place| u32::from(place < text.len())));
    }
    let position_ids: Vec<_> = (0..LENGTH as u32).cycle().take(input_ids.len()).collect();
    let batch = |position_ids| TextInput {
        input_ids: &input_ids,
        length: LENGTH,
        attention_mask: Some(&attention_mask),
        position_ids,
    };
    for device in [&*DEVICE, &*WORKGROUP, &*PROCESSOR] {
        let model = load(device, MODEL);
        let embed = |input| block_on(model.encode_text(input)).unwrap().embeddings;
        let packed = embed(batch(None));
        // A batch that brings its own positions is never packed.
        let padded = embed(batch(Some(&position_ids)));
        assert_close(&packed.values, &padded.values, 1e-5);
        for (place, text) in texts.iter().enumerate() {
            let one =
                TextInput { input_ids: text, length: text.len(), attention_mask: None, position_ids: None };
            assert_close(&embed(one).values, packed.slice(place), 1e-5);
        }
    }
}

// Those that begin alike share the rows of their beginning.
#[test]
fn texts_that_begin_alike_equal_single_texts() {
    for device in [&DEVICE, &WORKGROUP, &PROCESSOR] {
        let model = load(device, MODEL);
        let end = end_token(&model);
        let beginning = random_ids(5, 1, LENGTH, end)[..LENGTH - 2].to_vec();
        let vocabulary = model.config().text_config.vocab_size as u32;
        let lasts = (0..vocabulary).filter(|&id| id != end).take(9);
        let ids: Vec<u32> = lasts.flat_map(|last| [&beginning[..], &[last, end]].concat()).collect();
        let together = block_on(model.encode_text(text(&ids))).unwrap();
        for (prompt, ids) in ids.chunks_exact(LENGTH).enumerate() {
            let alone = block_on(model.encode_text(text(ids))).unwrap();
            assert_close(&alone.embeddings.values, together.embeddings.slice(prompt), 1e-5);
        }
        assert_ne!(together.embeddings.slice(0), together.embeddings.slice(1), "the last token matters");
    }
}

#[test]
fn images_of_a_batch_equal_single_images() {
    let model = load(&DEVICE, MODEL);
    let values = pixels(4, 3);
    let condition = prompts(&model, 5, 3);
    let batch = block_on(model.encode_image(image(&values, 3))).unwrap();
    let together = block_on(model.decode(&batch, &condition)).unwrap();
    for (place, one) in values.chunks_exact(3 * SIDE * SIDE).enumerate() {
        let scene = block_on(model.encode_image(image(one, 1))).unwrap();
        let alone = block_on(model.decode(&scene, &one_of(&condition, place))).unwrap();
        assert_close(&alone.values, together.slice(place), 1e-5);
    }
}

#[test]
fn a_scene_outlives_later_encodings_and_is_shared_between_threads() {
    let model = load(&DEVICE, MODEL);
    let condition = prompts(&model, 6, 2);
    let scene = block_on(model.encode_image(image(&pixels(7, 1), 1))).unwrap();
    let before = block_on(model.decode(&scene, &condition)).unwrap();
    let other = block_on(model.encode_image(image(&pixels(8, 1), 1))).unwrap();
    let (again, different) = std::thread::scope(|scope| {
        let again = scope.spawn(|| block_on(model.decode(&scene, &condition)).unwrap());
        let different = scope.spawn(|| block_on(model.decode(&other, &condition)).unwrap());
        (again.join().unwrap(), different.join().unwrap())
    });
    assert_eq!(again, before);
    assert_ne!(different, before);
}

#[test]
fn both_families_of_kernels_agree() {
    let values = pixels(9, 1);
    for name in [MODEL, "tiny-deep"] {
        let logits = [&*DEVICE, &*WORKGROUP].map(|device| {
            let model = load(device, name);
            let scene = block_on(model.encode_image(image(&values, 1))).unwrap();
            block_on(model.decode(&scene, &prompts(&model, 10, 2))).unwrap()
        });
        assert_close(&logits[0].values, &logits[1].values, 1e-4);
    }
}

#[test]
fn images_that_are_not_square_have_logits_of_their_shape() {
    let model = load(&DEVICE, MODEL);
    let (height, width) = (32, 80);
    let values = random(11, 3 * height * width);
    let input = ImageInput { pixel_values: &values, batch: 1, height, width };
    let scene = block_on(model.encode_image(input)).unwrap();
    let logits = block_on(model.decode(&scene, &prompts(&model, 12, 1))).unwrap();
    assert_eq!(logits.shape, [1, height, width]);
    assert!(logits.values.iter().all(|logit| logit.is_finite()));
}

#[test]
fn ids_beyond_the_vocabulary_are_refused_by_name() {
    let model = load(&DEVICE, MODEL);
    let vocabulary = model.config().text_config.vocab_size as u32;
    let error = block_on(model.encode_text(text(&[vocabulary; LENGTH]))).unwrap_err().to_string();
    assert!(error.contains(&vocabulary.to_string()) && error.contains("vocabulary"), "{error}");
}

#[test]
fn images_smaller_than_a_patch_and_wrong_lengths_are_refused() {
    let model = load(&DEVICE, MODEL);
    let tiny = ImageInput { pixel_values: &[0.5; 3 * 4 * 4], batch: 1, height: 4, width: 4 };
    let error = block_on(model.encode_image(tiny)).err().unwrap().to_string();
    assert!(error.contains("patch"), "{error}");
    let short = ImageInput { pixel_values: &[0.5; 7], batch: 1, height: SIDE, width: SIDE };
    let error = block_on(model.encode_image(short)).err().unwrap().to_string();
    assert!(error.contains("pixel_values"), "{error}");
}

#[test]
fn a_scene_of_another_device_is_refused() {
    let [ours, others] = [&DEVICE, &WORKGROUP].map(|device| load(device, MODEL));
    let [_, other_scene] =
        [&ours, &others].map(|model| block_on(model.encode_image(image(&pixels(1, 1), 1))).unwrap());
    let condition = prompts(&ours, 2, 1);
    let error = block_on(ours.decode(&other_scene, &condition)).unwrap_err();
    assert!(error.to_string().contains("another device"), "{error}");
    assert!(block_on(others.decode(&other_scene, &condition)).is_ok());
}

#[test]
fn a_condition_that_is_not_this_models_is_refused() {
    let model = load(&DEVICE, MODEL);
    let scene = block_on(model.encode_image(image(&pixels(1, 1), 1))).unwrap();
    let width = model.config().projection_dim;
    // Twice the width, so that the numbers would do for two prompts; too few numbers; no shape at all.
    for (shape, length) in [
        (vec![1, 2 * width], 2 * width),
        (vec![2, width / 2], width),
        (vec![2, width], width),
        (vec![width], width),
        (vec![], 0),
        (vec![1, 1, width], width),
    ] {
        let condition = Condition { embeddings: Array { shape: shape.clone(), values: random(3, length) } };
        let error = block_on(model.decode(&scene, &condition)).expect_err(&format!("{shape:?}"));
        assert!(matches!(&error, Error::Input(message) if message.contains("this model takes")), "{error}");
    }
}

#[test]
fn no_prompts_give_no_masks() {
    let model = load(&DEVICE, MODEL);
    let scene = block_on(model.encode_image(image(&pixels(1, 1), 1))).unwrap();
    let none =
        Condition { embeddings: Array { shape: vec![0, model.config().projection_dim], values: Vec::new() } };
    let logits = block_on(model.decode(&scene, &none)).unwrap();
    assert_eq!((logits.shape, logits.values), (vec![0, SIDE, SIDE], Vec::new()));
}
