//! Compares with transformers' `CLIPSegProcessor`: texts, images and visual prompts in one call, batches, and
//! ids back to text.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clipseg::{
    Checkpoint, ClipSegProcessor, Orientation, Photo, PixelBatch, PreprocessorConfig, Processor, TextBatch,
    Tokenizer,
};
use clipseg_testing::fixture;
use serde_json::{Value, json};
use tempfile::TempDir;

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("processor/inputs.json")).unwrap()).unwrap()
}

/// The committed vocabulary with these additional settings.
fn tokenizer(settings: &Value) -> (TempDir, Tokenizer) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt", "special_tokens_map.json"] {
        std::fs::copy(fixture("clip-tokenizer").join(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    let tokenizer = Tokenizer::from_dir(folder.path()).unwrap();
    (folder, tokenizer)
}

fn processor(settings: &Value) -> ClipSegProcessor {
    let config = PreprocessorConfig::from_json(&settings.to_string()).unwrap();
    ClipSegProcessor { image_processor: Processor::new(config).unwrap(), tokenizer: tokenizer(&json!({})).1 }
}

/// The upper left corner of the noise image.
fn crop(width: usize, height: usize) -> Photo {
    let noise = Photo::open(fixture("processor/noise.png"), Orientation::Ignore).unwrap();
    let rows = noise.rgb().chunks(noise.width() * 3).take(height);
    Photo::from_rgb(width, height, rows.flat_map(|row| &row[..width * 3]).copied().collect()).unwrap()
}

fn strings(list: &Value) -> Vec<String> {
    serde_json::from_value(list.clone()).unwrap()
}

#[track_caller]
fn assert_equal(pixels: &PixelBatch, name: &str) {
    let expected = Checkpoint::open(fixture("processor/inputs.safetensors")).unwrap();
    let view = expected.get(name).unwrap();
    assert_eq!([pixels.batch, 3, pixels.height, pixels.width], view.shape(), "{name}");
    assert_eq!(pixels.values, view.to_f32().unwrap(), "{name}");
}

#[test]
fn images_and_prompts_are_processed_together() {
    let processor = processor(&json!({"size": {"height": 6, "width": 8}}));
    let (images, prompts) = ([crop(10, 12), crop(7, 5)], [crop(9, 9)]);
    let texts = strings(&expected()["texts"]);

    let pictured = processor.process(None::<&[&str]>, Some(&images), Some(&prompts)).unwrap();
    assert_equal(pictured.pixel_values.as_ref().unwrap(), "pixel_values");
    assert_equal(pictured.conditional_pixel_values.as_ref().unwrap(), "conditional_pixel_values");
    assert_eq!(pictured.text, None);

    let worded = processor.process(Some(&texts), Some(&images), None).unwrap();
    assert_eq!(worded.pixel_values, pictured.pixel_values);
    assert_eq!(worded.conditional_pixel_values, None);
    assert_eq!(worded.text.unwrap().batch, texts.len());

    let alone = processor.process(None::<&[&str]>, None, Some(&prompts)).unwrap();
    assert_eq!(
        (&alone.conditional_pixel_values, &alone.pixel_values),
        (&pictured.conditional_pixel_values, &None)
    );
}

#[test]
fn exactly_one_kind_of_prompt_is_taken_in_the_words_of_the_reference() {
    let processor = processor(&json!({}));
    let (photos, texts) = ([crop(4, 4)], ["a cat"]);
    let errors = &expected()["errors"];
    let refusal = |text: Option<&[&str]>, images, prompts| {
        processor.process(text, images, prompts).unwrap_err().to_string()
    };
    assert_eq!(refusal(None, None, None), errors["nothing"]);
    assert_eq!(refusal(Some(&texts), None, Some(&photos)), errors["both prompts"]);
    assert_eq!(refusal(Some(&texts), Some(&photos), Some(&photos)), errors["both prompts and images"]);
    assert!(refusal(Some(&["a cat", " "]), Some(&photos), None).contains("prompt 2 of 2 is empty"));
    assert!(refusal(None, Some(&[]), None).contains("there is no image"));
}

#[test]
fn images_of_one_batch_have_one_size() {
    let processor = processor(&json!({"do_resize": false}));
    let error =
        processor.image_processor.preprocess_batch(&[crop(4, 4), crop(4, 4), crop(4, 5)]).unwrap_err();
    assert!(error.to_string().contains("image 3 is 5 by 4 pixels and the first is 4 by 4"), "{error}");
}

#[test]
fn every_filter_and_every_form_of_size_gives_transformers_pixels() {
    for (number, name) in ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"].iter().enumerate() {
        let processor = processor(&json!({"size": 9, "resample": number}));
        assert_equal(
            &processor.image_processor.preprocess_batch(&[crop(20, 13)]).unwrap(),
            &format!("square/{name}"),
        );
    }
    let listed = processor(&json!({"size": [5, 11], "image_mean": 0.4, "image_std": [0.2, 0.3, 0.25]}));
    assert_equal(&listed.image_processor.preprocess_batch(&[crop(20, 13)]).unwrap(), "list");
    let edge = processor(&json!({"size": {"shortest_edge": 9}, "do_resize": false}));
    assert_equal(&edge.image_processor.preprocess_batch(&[crop(6, 4)]).unwrap(), "edge");
}

#[test]
fn batches_are_padded_on_the_side_of_the_settings() {
    let expected = expected();
    let texts = strings(&expected["texts"]);
    for side in ["right", "left"] {
        let (_folder, tokenizer) = tokenizer(&json!({"padding_side": side}));
        let TextBatch { input_ids, attention_mask, batch, length, .. } =
            tokenizer.encode_batch(&texts).unwrap();
        let rows = |values: &[u32]| -> Value { values.chunks(length).map(|row| json!(row)).collect() };
        assert_eq!(batch, texts.len());
        assert_eq!(rows(&input_ids), expected[side]["input_ids"], "{side}");
        assert_eq!(rows(&attention_mask), expected[side]["attention_mask"], "{side}");
    }
}

#[test]
fn ids_decode_with_and_without_special_tokens_and_clean_up() {
    let expected = expected();
    let rows: Vec<Vec<u32>> = serde_json::from_value(expected["rows"].clone()).unwrap();
    for case in expected["decoded"].as_array().unwrap() {
        let clean_up = json!({"clean_up_tokenization_spaces": case["clean_up"]});
        let (_folder, tokenizer) = tokenizer(&clean_up);
        let skip_special = case["skip_special"].as_bool().unwrap();
        assert_eq!(tokenizer.batch_decode(&rows, skip_special).unwrap(), strings(&case["texts"]), "{case}");
        let first = tokenizer.decode(&rows[0], skip_special).unwrap();
        assert_eq!(first, strings(&case["texts"])[0]);
    }
}

#[test]
fn settings_of_the_wrong_kind_are_named() {
    for (settings, message) in [
        (json!({"padding_side": "up"}), "padding_side = \"up\": must be \"right\" or \"left\""),
        (
            json!({"clean_up_tokenization_spaces": "no"}),
            "clean_up_tokenization_spaces = \"no\": must be true or false",
        ),
    ] {
        let (folder, _) = tokenizer(&json!({}));
        std::fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
        let error = Tokenizer::from_dir(folder.path()).unwrap_err().to_string();
        assert!(error.contains(message), "{settings}: {error}");
    }
}
