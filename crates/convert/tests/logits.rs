//! Checks that converted checkpoints load and give transformers' logits. Needs an adapter, if only a software
//! one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use clipseg::{
    ClipSegForImageSegmentation, ConditionInput, Device, DeviceOptions, ImageInput, OutputOptions,
    SegmentationInput, TextInput,
};
use clipseg_convert::{Request, WeightType, convert};
use safetensors::SafeTensors;

/// Largest difference allowed, relative to the largest logit, as in `cargo xtask verify`.
const TOLERANCE: f32 = 1e-4;

/// A reference's tensors: shape and bytes.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn floats(tensors: &Tensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let (shape, bytes) = &tensors[name];
    (shape.clone(), bytes.as_chunks().0.iter().map(|&number| f32::from_le_bytes(number)).collect())
}

fn ids(tensors: &Tensors, name: &str) -> Vec<u32> {
    let numbers = tensors[name].1.as_chunks().0.iter().map(|&number| i64::from_le_bytes(number));
    numbers.map(|number| u32::try_from(number).unwrap()).collect()
}

/// Converts a checkpoint and returns the largest difference from the reference's logits, relative to the
/// largest of these.
fn relative_difference(case: &str, source: &str, clip: &str, config: Option<&str>) -> f32 {
    let fixtures = clipseg_testing::fixture("convert").join(case);
    let folder = tempfile::tempdir().unwrap();
    let config = config.map(|name| fixtures.join(name));
    let out = folder.path().join("out");
    let request = Request {
        source: &fixtures.join(source),
        out: &out,
        clip: Some(&fixtures.join(clip)),
        config: config.as_deref(),
        tokenizer: None,
        weights: WeightType::F32,
    };
    convert(&request, &mut |_, _| {}).unwrap();

    let bytes = std::fs::read(fixtures.join("reference.safetensors")).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Tensors = reference
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), view.data().to_vec())))
        .collect();
    let (shape, pixels) = floats(&tensors, "in.pixel_values");
    let (input_ids, mask) = (ids(&tensors, "in.input_ids"), ids(&tensors, "in.attention_mask"));
    let (logits_shape, expected) = floats(&tensors, "out.logits");

    let device = Device::open(&DeviceOptions::default()).expect("this test needs an adapter");
    let model = ClipSegForImageSegmentation::from_pretrained(&device, &out).unwrap();
    let text = TextInput {
        input_ids: &input_ids,
        length: tensors["in.input_ids"].0[1],
        attention_mask: Some(&mask),
        position_ids: None,
    };
    let input = SegmentationInput {
        images: ImageInput { pixel_values: &pixels, batch: shape[0], height: shape[2], width: shape[3] },
        condition: ConditionInput::Text(text),
        labels: None,
        options: OutputOptions::default(),
    };
    let found = pollster::block_on(model.forward(input)).unwrap().logits;
    assert_eq!(found.shape, logits_shape);
    let largest = expected.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
    let difference = found.values.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
    // A NaN must fail the test; `f32::max` would ignore it.
    difference.fold(0.0, |worst: f32, delta| if delta <= worst { worst } else { delta }) / largest
}

#[test]
fn a_decoder_and_openais_archive_give_transformers_logits() {
    let difference = relative_difference("published", "rd16-uni.pth", "ViT-B-16.pt", None);
    assert!(difference <= TOLERANCE, "{difference:e}");
}

#[test]
fn an_unusual_decoder_and_a_state_dict_give_transformers_logits() {
    let config = Some("config.json");
    let difference = relative_difference("unusual", "rd64-uni-refined.pth", "clip-state-dict.pt", config);
    assert!(difference <= TOLERANCE, "{difference:e}");
}
