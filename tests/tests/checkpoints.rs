//! Loading checkpoints that are not a whole model as transformers 4.37.2 saves it, and the messages of
//! refusals.

use clipseg::{
    Array, Checkpoint, ClipSeg, ClipSegForImageSegmentation, ClipSegModel, ClipSegTextConfig,
    ClipSegTextModel, ClipSegVisionConfig, ClipSegVisionModel, Condition, Error, ImageInput, Photo,
    TextEncoder, VisionEncoder,
};
use clipseg_tests::{DEVICE, fixture};
use safetensors::SafeTensors;

fn refusal<T>(result: clipseg::Result<T>) -> String {
    result.map(|_| ()).expect_err("this checkpoint lacks what was asked for").to_string()
}

#[test]
fn a_clip_without_decoder_compares_but_does_not_segment() {
    let folder = fixture("tiny-clip");
    assert!(ClipSegModel::from_pretrained(&DEVICE, &folder).is_ok());
    let error = refusal(ClipSegForImageSegmentation::from_pretrained(&DEVICE, &folder));
    assert!(error.contains("config.json: extract_layers = [3, 6, 9]: layer 3 does not exist"), "{error}");
}

#[test]
fn a_tower_alone_loads_as_that_tower_and_as_nothing_else() {
    let (text, vision) = (fixture("tiny-text-tower"), fixture("tiny-vision-tower"));
    let config = ClipSegTextConfig::from_file(&text).unwrap();
    let checkpoint = Checkpoint::open(&text).unwrap();
    let prefix = checkpoint.clip_prefix().unwrap();
    assert!(TextEncoder::load(&DEVICE, &checkpoint, prefix, &config, None).is_ok());
    // A tower alone has no projection.
    let error = refusal(TextEncoder::load(&DEVICE, &checkpoint, prefix, &config, Some(16)));
    assert!(error.contains("`text_projection.weight` is missing (expected shape [16, 48])"), "{error}");

    let config = ClipSegVisionConfig::from_file(&vision).unwrap();
    let checkpoint = Checkpoint::open(&vision).unwrap();
    assert!(VisionEncoder::load(&DEVICE, &checkpoint, prefix, &config, None, &[]).is_ok());

    for folder in [&text, &vision] {
        let error = refusal(ClipSegModel::from_pretrained(&DEVICE, folder));
        assert!(error.contains("this is one tower alone"), "{error}");
        let error = refusal(ClipSegForImageSegmentation::from_pretrained(&DEVICE, folder));
        assert!(error.contains("config.json: model_type") && error.contains("one tower alone"), "{error}");
    }
    let error = refusal(ClipSegTextConfig::from_file(&vision));
    assert!(error.contains("model_type = \"clipseg_vision_model\""), "{error}");
}

/// transformers 5.6 and later save a tower alone without `text_model.` or `vision_model.` before its tensors'
/// names.
#[test]
fn a_tower_that_transformers_5_saved_loads_as_that_tower() {
    let (text, vision) = (fixture("tiny-transformers-5-text"), fixture("tiny-transformers-5-vision"));
    assert!(ClipSegTextModel::from_pretrained(&DEVICE, &text).is_ok());
    assert!(ClipSegVisionModel::from_pretrained(&DEVICE, &vision).is_ok());
    let error = refusal(ClipSegTextModel::from_pretrained(&DEVICE, &vision));
    assert!(error.contains("clipseg_vision_model"), "{error}");
}

#[test]
fn a_folder_that_transformers_5_saved_segments() {
    let model = ClipSeg::from_pretrained(&DEVICE, fixture("tiny-transformers-5")).unwrap();
    let photo = Photo::from_rgb(5, 4, (0..60).collect()).unwrap();
    let scene = model.encode_image(&photo).unwrap();
    let segmentation = model.segment(&scene, &["the green star!!", "a <my-star>"]).unwrap();
    assert!(segmentation.logits().values.iter().all(|logit| logit.is_finite()));
    assert_ne!(segmentation.logits().slice(0), segmentation.logits().slice(1));
}

/// A negative `conditional_layer` is not a step's number: transformers then leaves the condition out.
#[test]
fn a_condition_that_no_step_takes_changes_nothing() {
    let model = ClipSegForImageSegmentation::from_pretrained(&DEVICE, fixture("tiny-unconditioned")).unwrap();
    let pixels: Vec<f32> = (0..3 * 32 * 32).map(|n| (n % 17) as f32 / 8.0 - 1.0).collect();
    let images = ImageInput { pixel_values: &pixels, batch: 1, height: 32, width: 32 };
    let scene = pollster::block_on(model.encode_image(images)).unwrap();
    let embeddings = Array { shape: vec![2, 12], values: (0..24).map(|n| n as f32).collect() };
    let logits = pollster::block_on(model.decode(&scene, &Condition { embeddings })).unwrap();
    assert_eq!(logits.shape, [2, 32, 32]);
    assert_eq!(logits.slice(0), logits.slice(1));
}

/// One value of one tensor, wherever it stands, is enough for a confident mask of nothing.
#[test]
fn a_value_that_is_not_finite_is_refused_in_every_part_of_the_model() {
    let source = fixture("tiny-simple");
    let weights = std::fs::read(source.join("model.safetensors")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("config.json"), folder.path().join("config.json")).unwrap();
    let (header, tensors) = SafeTensors::read_metadata(&weights).unwrap();
    for (number, (name, info)) in tensors.tensors().into_iter().enumerate() {
        // The scale belongs to the similarity, which is not loaded for masks.
        if name.ends_with("position_ids") || name.ends_with("logit_scale") {
            continue;
        }
        let mut damaged = weights.clone();
        let end = 8 + header + info.data_offsets.1;
        let wrong = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][number % 3];
        damaged[end - 4..end].copy_from_slice(&wrong.to_le_bytes());
        std::fs::write(folder.path().join("model.safetensors"), damaged).unwrap();
        let loaded = ClipSegForImageSegmentation::from_pretrained(&DEVICE, folder.path()).map(|_| ());
        assert!(
            matches!(&loaded, Err(Error::NotFinite { name: found, count: 1, .. }) if *found == name),
            "{name}: {loaded:?}"
        );
    }
}
