//! Encoded photos that are kept: counted, freed, copied to the host and back, written and read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clipseg::{
    Array, Checkpoint, ClipSeg, ClipSegConfig, ClipSegForImageSegmentation, Device, EncodedImage, Error,
    ImageInput, Photo, SavedImage, TextInput,
};
use clipseg_tests::{DEVICE, PROCESSOR, WORKGROUP, fixture, load, open_alone, random, random_ids};
use pollster::block_on;
use proptest::prelude::*;

const MODEL: &str = "tiny-complex";
const SIDE: usize = 48;

fn encode(model: &ClipSegForImageSegmentation, batch: usize) -> EncodedImage {
    let pixel_values = &random(7, batch * 3 * SIDE * SIDE)[..];
    let image = model.encode_image(ImageInput { pixel_values, batch, height: SIDE, width: SIDE });
    block_on(image).expect("an image of the model's")
}

fn logits(model: &ClipSegForImageSegmentation, image: &EncodedImage) -> Array {
    let input_ids = &random_ids(8, 2, 7, model.config().text_config.eos_token_id)[..];
    let text = TextInput { input_ids, length: 7, attention_mask: None, position_ids: None };
    let condition = block_on(model.encode_text(text)).expect("ids of the model's");
    block_on(model.decode(image, &condition)).expect("an image of the model's")
}

fn save(model: &ClipSegForImageSegmentation, image: &EncodedImage) -> SavedImage {
    block_on(model.save_image(image)).expect("an image of the model's")
}

#[test]
fn logits_are_the_same_after_a_round_trip() {
    for device in [&*DEVICE, &WORKGROUP, &PROCESSOR] {
        let model = load(device, MODEL);
        for batch in [1, 2] {
            let image = encode(&model, batch);
            let expected = logits(&model, &image);
            let saved = save(&model, &image);
            drop(image);
            assert_eq!(logits(&model, &model.restore_image(&saved).unwrap()), expected);

            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("image.safetensors");
            saved.to_file(&path).unwrap();
            let read = SavedImage::from_file(&path).unwrap();
            assert!(read == saved, "where it comes from does not count");
            assert_eq!((read.activations(), read.grid()), (saved.activations(), saved.grid()));
            assert_eq!(read.to_bytes().unwrap(), std::fs::read(&path).unwrap());
            // The model loaded anew, as in another process.
            let model = load(device, MODEL);
            assert_eq!(logits(&model, &model.restore_image(&read).unwrap()), expected);
        }
    }
}

#[test]
fn an_image_goes_from_device_to_device() {
    let (here, there) = (load(&DEVICE, MODEL), load(&PROCESSOR, MODEL));
    let image = encode(&here, 1);
    let expected = logits(&here, &image);
    let moved = there.restore_image(&save(&here, &image)).unwrap();
    clipseg_tests::assert_close(&logits(&there, &moved).values, &expected.values, 1e-4);
    // And back again without a loss.
    let back = here.restore_image(&save(&there, &moved)).unwrap();
    assert_eq!(logits(&here, &back), expected);
}

#[test]
fn kept_images_are_counted_and_freed() {
    for device in [open_alone(), clipseg_tests::open_processor_alone()] {
        let model = load(&device, MODEL);
        let images: Vec<_> = (0..3).map(|_| encode(&model, 1)).collect();
        let bytes = images[0].bytes();
        assert!(bytes > 0);
        assert_eq!(device.memory_use().encoded_images, 3 * bytes);
        let saved: Vec<_> = images.iter().map(|image| save(&model, image)).collect();
        assert_eq!(saved[0].bytes() as u64, bytes);
        drop(images);
        device.trim();
        assert_eq!(device.memory_use().encoded_images, 0);
        let weights = device.memory_use().weights;
        let restored: Vec<_> = saved.iter().map(|saved| model.restore_image(saved).unwrap()).collect();
        assert_eq!(device.memory_use().encoded_images, 3 * bytes);
        assert_eq!(device.memory_use().weights, weights, "they are not counted as weights");
        drop(restored);
        device.trim();
        assert_eq!(device.memory_use().encoded_images, 0);
    }
}

#[test]
fn another_model_is_told_apart() {
    let model = load(&PROCESSOR, MODEL);
    let image = encode(&model, 1);
    let saved = save(&model, &image);
    for other in ["tiny-simple", "tiny-deep", "clipseg-shapes"] {
        let other = load(&PROCESSOR, other);
        let error = other.restore_image(&saved).err().unwrap();
        assert!(matches!(error, Error::OtherModel { .. }), "{error}");
        let error = block_on(other.save_image(&image)).unwrap_err();
        assert!(matches!(error, Error::OtherModel { .. }), "{error}");
        let condition = clipseg::Condition {
            embeddings: Array {
                shape: vec![1, other.config().projection_dim],
                values: vec![0.5; other.config().projection_dim],
            },
        };
        let error = block_on(other.decode(&image, &condition)).unwrap_err();
        assert!(error.to_string().contains("encode the photo with this model"), "{error}");
        let error = block_on(other.decode_on_device(&image, &condition)).err().unwrap();
        assert!(matches!(error, Error::OtherModel { .. }), "{error}");
    }
}

/// The checkpoint with one tensor changed.
fn changed(tensor: &str) -> (Checkpoint, ClipSegConfig) {
    let folder = fixture(MODEL);
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let view = checkpoint.get(tensor).unwrap();
    let mut bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let old = view.bytes().unwrap();
    let start = bytes.windows(old.len()).position(|window| window == old).unwrap();
    // Every value of the tensor, as training changes it.
    for value in bytes[start..start + old.len()].as_chunks_mut::<4>().0 {
        *value = (f32::from_le_bytes(*value) * 1.25 + 0.01).to_le_bytes();
    }
    (Checkpoint::from_bytes("changed", bytes).unwrap(), ClipSegConfig::from_file(folder).unwrap())
}

#[test]
fn weights_of_the_vision_tower_tell_models_apart_and_others_do_not() {
    let saved = {
        let model = load(&PROCESSOR, MODEL);
        save(&model, &encode(&model, 1))
    };
    let layer = "clip.vision_model.encoder.layers.0";
    for (tensor, is_other) in [
        ("clip.vision_model.embeddings.class_embedding".to_owned(), true),
        ("clip.vision_model.embeddings.patch_embedding.weight".to_owned(), true),
        (format!("{layer}.self_attn.q_proj.weight"), true),
        (format!("{layer}.mlp.fc1.weight"), true),
        (format!("{layer}.layer_norm1.bias"), true),
        ("decoder.film_mul.weight".to_owned(), false),
        ("clip.text_projection.weight".to_owned(), false),
    ] {
        let (checkpoint, config) = changed(&tensor);
        let model = ClipSegForImageSegmentation::load(&PROCESSOR, &checkpoint, &config).unwrap();
        let restored = model.restore_image(&saved);
        assert_eq!(matches!(restored, Err(Error::OtherModel { .. })), is_other, "{tensor}");
        assert_eq!(restored.is_ok(), !is_other, "{tensor}");
    }
}

#[test]
fn an_image_of_another_device_is_refused() {
    let (one, other) = (load(&PROCESSOR, MODEL), load(&DEVICE, MODEL));
    let error = block_on(other.save_image(&encode(&one, 1))).unwrap_err();
    assert!(matches!(&error, Error::Device(clipseg::DeviceError::OtherDevice { .. })), "{error}");
}

#[test]
fn truncated_files_are_refused_by_their_label() {
    let model = load(&PROCESSOR, MODEL);
    let whole = save(&model, &encode(&model, 1)).to_bytes().unwrap();
    for length in (0..whole.len()).step_by(97).chain([0, 7, 8, whole.len() - 1]) {
        let error = SavedImage::from_bytes("my image", &whole[..length]).unwrap_err();
        assert!(matches!(error, Error::SavedImage { .. }), "{error}");
        assert!(error.to_string().starts_with("my image: "), "{error}");
    }
    let error = SavedImage::from_bytes("my image", &[&whole[..], b"more"].concat()).unwrap_err();
    assert!(matches!(error, Error::SavedImage { .. }), "{error}");
    let conditions = fixture(MODEL).join("model.safetensors");
    let error = SavedImage::from_file(conditions).unwrap_err().to_string();
    assert!(error.contains("holds no encoded image"), "{error}");
    let newer = String::from_utf8_lossy(&whole).find("\\\"version\\\":1").unwrap() + 12;
    let mut bytes = whole.clone();
    bytes[newer] = b'2';
    let error = SavedImage::from_bytes("my image", &bytes).unwrap_err().to_string();
    assert!(error.contains("of version 2"), "{error}");
}

proptest! {
    /// Altering any byte gives an error, unless the byte has no meaning.
    #[test]
    fn altered_files_are_errors(place in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        static WHOLE: std::sync::LazyLock<SavedImage> = std::sync::LazyLock::new(|| {
            let model = load(&PROCESSOR, MODEL);
            save(&model, &encode(&model, 1))
        });
        let mut bytes = WHOLE.to_bytes().unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= bits;
        match SavedImage::from_bytes("altered", &bytes) {
            Err(Error::SavedImage { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
            Ok(read) => {
                prop_assert_eq!(read.activations(), WHOLE.activations());
                prop_assert_eq!(read.grid(), WHOLE.grid());
                prop_assert_eq!(read.model(), WHOLE.model());
            }
        }
    }
}

#[test]
fn a_library_of_photos_is_searched_without_them() {
    let device: &Device = &PROCESSOR;
    let model = ClipSeg::from_pretrained(device, fixture("clipseg-shapes")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |number: u64| folder.path().join(format!("{number}.safetensors"));
    let mut expected = Vec::new();
    for number in 0..4 {
        let scene = clipseg_shapes::Scene::new(11, number);
        let photo = Photo::from_rgb(clipseg_shapes::SIZE, clipseg_shapes::SIZE, scene.pixels).unwrap();
        let image = model.encode_image(&photo).unwrap();
        expected.push(model.segment(&image, &["a red circle"]).unwrap().presence(0).unwrap());
        model.save_image(&image).unwrap().to_file(path(number)).unwrap();
    }
    for (number, expected) in (0..).zip(expected) {
        let image = model.restore_image(&SavedImage::from_file(path(number)).unwrap()).unwrap();
        assert_eq!(model.segment(&image, &["a red circle"]).unwrap().presence(0).unwrap(), expected);
    }
}
