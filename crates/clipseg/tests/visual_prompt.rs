//! Compares image prompts with `tools/training/visual_prompt.py`, the paper's code in torch.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use clipseg::{Checkpoint, Photo, PixelValues, PreprocessorConfig, Processor, PromptStyle};

fn style(name: &str) -> PromptStyle {
    match name {
        "crop-blur-darken" => PromptStyle::CROP_BLUR_DARKEN,
        "blur-darken" => PromptStyle::BLUR_DARKEN,
        "blur" => PromptStyle::BLUR,
        "slight-blur" => PromptStyle::SLIGHT_BLUR,
        "crop" => PromptStyle::CROP,
        other => panic!("no style is called {other}"),
    }
}

#[test]
fn prompts_are_prepared_as_in_python() {
    let fixture = Checkpoint::open(clipseg_testing::fixture("processor/visual-prompts.safetensors")).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let bytes = fixture.get(name).unwrap().bytes().unwrap();
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let mut checked = 0;
    for name in fixture.names().filter(|name| name.starts_with("prompt/")) {
        let parts: Vec<_> = name.split('/').collect();
        let (size, shape) = (parts[1], parts[2]);
        let side: usize = size.parse().unwrap();
        let pixels = PixelValues { values: floats(&format!("pixels/{size}")), height: side, width: side };
        let mask = fixture.get(&format!("mask/{size}/{shape}")).unwrap();
        let mask: Vec<_> = mask.bytes().unwrap().iter().map(|&byte| byte != 0).collect();
        let prompt = style(parts[3]).apply(&pixels, &mask).unwrap();
        for (place, (found, expected)) in prompt.values.iter().zip(floats(name)).enumerate() {
            assert!((found - expected).abs() < 1e-6, "{name}, {place}: {found} is not {expected}");
        }
        checked += 1;
    }
    assert_eq!(checked, 40);
}

#[test]
fn masks_are_resized_by_nearest_neighbour() {
    let json = r#"{"size": {"height": 2, "width": 2}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}"#;
    let processor = Processor::new(PreprocessorConfig::from_json(json).unwrap()).unwrap();
    let photo = Photo::from_rgb(4, 4, vec![255; 48]).unwrap();
    // Pillow's NEAREST takes rows and columns 1 and 3.
    let mut mask = [false; 16];
    mask[3 * 4 + 1] = true;
    let darken = PromptStyle { background: 0.0, ..PromptStyle::BLUR_DARKEN };
    let prompt = darken.prompt(&processor, &photo, &mask).unwrap();
    assert_eq!(prompt.values, [[0.0, 0.0, 1.0, 0.0]; 3].concat());

    mask = [false; 16];
    mask[0] = true;
    let error = darken.prompt(&processor, &photo, &mask).unwrap_err().to_string();
    assert!(error.contains("marks nothing"), "{error}");
    let error = darken.prompt(&processor, &photo, &mask[1..]).unwrap_err().to_string();
    assert!(error.contains("a mask of 15 pixels for a photo of 4 × 4"), "{error}");
}
