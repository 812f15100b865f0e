//! The example of that name computes transformers' numbers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "its main prints")]
#[path = "../examples/vit.rs"]
mod example;

use clipseg_tensor::{AdapterChoice, Device, DeviceOptions};
use safetensors::SafeTensors;

#[test]
fn the_example_gives_the_embedding_of_transformers() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");
    let weights = std::fs::read(format!("{folder}/model.safetensors")).unwrap();
    let reference = std::fs::read(format!("{folder}/references/segmentation.safetensors")).unwrap();
    let reference = SafeTensors::deserialize(&reference).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let bytes = reference.tensor(name).unwrap();
        bytes.data().as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
    };
    let (pixel_values, expected) = (floats("in.pixel_values"), floats("out.pooled_output"));
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    for adapter in [AdapterChoice::Driver, AdapterChoice::Processor] {
        let device = Device::open(&DeviceOptions { adapter, ..DeviceOptions::default() }).unwrap();
        let recorded = example::Vit::load(&device, &weights).unwrap().record(1).unwrap();
        // The second run records nothing.
        for _ in 0..2 {
            let found = pollster::block_on(recorded.run(&pixel_values)).unwrap();
            assert_eq!(found.len(), expected.len());
            let off = found.iter().zip(&expected).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-4 * largest, "{}: off by {off} of {largest}", device.description());
        }
        let scaled: Vec<_> = expected.iter().map(|value| 2.0 * value).collect();
        assert!(example::similarity(&expected, &scaled) > 0.9999);
    }
}
