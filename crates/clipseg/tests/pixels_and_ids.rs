//! The library without codecs and tokenizer: pixels and token ids in, transformers' logits out.
//! `cargo xtask test` runs it without the default features too.

use clipseg::{
    Checkpoint, ClipSegConfig, ClipSegForImageSegmentation, Device, DeviceOptions, ImageInput, Photo,
    PixelFormat, PreprocessorConfig, Processor, TextInput,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");

/// The values of a tensor of transformers' reference, where integers are 64 bits wide.
fn ids(reference: &Checkpoint, name: &str) -> Vec<u32> {
    let bytes = reference.get(name).expect("the reference has it").bytes().expect("it can be read");
    bytes.as_chunks::<8>().0.iter().map(|&id| u64::from_le_bytes(id) as u32).collect()
}

#[test]
fn pixels_and_ids_give_the_logits_of_transformers() {
    let weights = std::fs::read(format!("{FOLDER}/model.safetensors")).unwrap();
    let checkpoint = Checkpoint::from_bytes("weights", weights).unwrap();
    let config =
        ClipSegConfig::from_json(&std::fs::read_to_string(format!("{FOLDER}/config.json")).unwrap()).unwrap();
    let device = Device::open(&DeviceOptions::default()).unwrap();
    let model = ClipSegForImageSegmentation::load(&device, &checkpoint, &config).unwrap();

    let reference = Checkpoint::open(format!("{FOLDER}/references/segmentation.safetensors")).unwrap();
    let pixels = reference.get("in.pixel_values").unwrap();
    let &[batch, _, height, width] = pixels.shape() else { panic!("pixels of shape {:?}", pixels.shape()) };
    let pixel_values = &pixels.to_f32().unwrap()[..];
    let images = ImageInput { pixel_values, batch, height, width };
    let (input_ids, mask) = (ids(&reference, "in.input_ids"), ids(&reference, "in.attention_mask"));
    let text = TextInput {
        input_ids: &input_ids,
        length: input_ids.len(),
        attention_mask: Some(&mask),
        position_ids: None,
    };
    let logits = pollster::block_on(async {
        let scene = model.encode_image(images).await?;
        model.decode(&scene, &model.encode_text(text).await?).await
    });
    let (logits, expected) = (logits.unwrap(), reference.get("out.logits").unwrap().to_f32().unwrap());
    let largest = expected.iter().fold(0.0f32, |largest, logit| largest.max(logit.abs()));
    assert_eq!(logits.values.len(), expected.len());
    let worst =
        logits.values.iter().zip(&expected).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-4 * largest, "off by {worst}, where the largest logit is {largest}");
}

#[test]
fn frames_of_another_program_become_pixel_values() {
    let frame: Vec<u8> = (0..64 * 48 * 4).map(|place| (place * 7 % 251) as u8).collect();
    let photo = Photo::from_pixels(PixelFormat::Rgba8, 64, 48, &frame, 64 * 4).unwrap();
    let config = std::fs::read_to_string(format!("{FOLDER}/preprocessor_config.json")).unwrap();
    let processor = Processor::new(PreprocessorConfig::from_json(&config).unwrap()).unwrap();
    let pixels = processor.preprocess(&photo);
    assert_eq!((pixels.height, pixels.width), (128, 128));
    assert!(pixels.values.iter().all(|value| value.is_finite()));
}
