//! The whole engine on the device beside the same model made of the kernels' CPU twins, on random small
//! checkpoints.
//!
//! `PROPTEST_CASES` sets the number of checkpoints. Each compiles pipelines of its own, so there are few by
//! default.

mod checkpoint;
mod forward;
mod inputs;

use clipseg::{
    Array, ClipSegConfig, ClipSegForImageSegmentation, ConditionInput, OutputOptions, SegmentationInput,
};
use clipseg_tests::DEVICE;
use pollster::block_on;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use self::checkpoint::{Weights, configs, write};
use self::forward::{Forward, Outputs, named};
use self::inputs::{Batch, Inputs, batches};

/// The largest difference allowed, relative to the output's largest magnitude.
const TOLERANCE: f32 = 1e-4;

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4)
}

/// What the engine gives, under the twins' names, and the weights that it loaded.
fn engine(config: &ClipSegConfig, inputs: &Inputs, seed: u64) -> (Outputs, Weights) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let weights = write(folder.path(), config, seed);
    let model = ClipSegForImageSegmentation::from_pretrained(&DEVICE, folder.path())
        .unwrap_or_else(|error| panic!("{error}"));
    let input = SegmentationInput {
        images: inputs.images(),
        condition: ConditionInput::Text(inputs.text()),
        labels: None,
        options: OutputOptions { hidden_states: true, attentions: false },
    };
    let output = block_on(model.forward(input)).unwrap_or_else(|error| panic!("{error}"));
    let values = |arrays: Vec<Array>| arrays.into_iter().map(|array| array.values).collect();
    let mut outputs = vec![
        ("pooler_output".to_owned(), output.vision_model_output.pooler_output.values),
        ("pooled_output".to_owned(), output.pooled_output.values),
    ];
    outputs.extend(named("vision.hidden_states", values(output.vision_model_output.hidden_states)));
    outputs.extend(named("decoder.hidden_states", values(output.decoder_output.hidden_states)));
    outputs.push(("logits".to_owned(), output.logits.values));
    outputs.push(("conditional_embeddings".to_owned(), output.conditional_embeddings.values));
    (outputs, weights)
}

/// The first output that differs, with the two values that differ.
fn difference(found: &Outputs, expected: &Outputs) -> Option<String> {
    let names = |outputs: &Outputs| outputs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "the outputs are the same ones");
    found.iter().zip(expected).find_map(|((name, found), (_, expected))| {
        if found.len() != expected.len() {
            return Some(format!("{name}: {} values, expected {}", found.len(), expected.len()));
        }
        let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        // A NaN is not close to anything.
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * largest;
        let place = found.iter().zip(expected).position(|pair| !close(pair))?;
        Some(format!("{name} at {place}: {}, expected {} (largest {largest})", found[place], expected[place]))
    })
}

#[test]
fn the_engine_computes_what_the_twins_compute() {
    let settings = ProptestConfig { cases: cases(), max_shrink_iters: 20, ..ProptestConfig::default() };
    proptest!(settings, |(config in configs(), batch in batches())| {
        let inputs = Inputs::new(&config, batch);
        let (found, weights) = engine(&config, &inputs, batch.seed);
        let expected = Forward { config: &config, weights: &weights }.outputs(&inputs);
        let difference = difference(&found, &expected);
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    });
}

/// The comparison must fail when any single tensor is changed, but for those that cannot matter.
#[test]
fn every_tensor_matters_to_the_comparison() {
    let mut runner = TestRunner::deterministic();
    let config = configs().new_tree(&mut runner).unwrap().current();
    let batch = Batch { size: 2, grid: (2, 3), remainder: 0, length: 6, masked: true, seed: 7 };
    let inputs = Inputs::new(&config, batch);
    let (found, weights) = engine(&config, &inputs, batch.seed);
    let with = |weights: &Weights| Forward { config: &config, weights }.outputs(&inputs);
    assert_eq!(difference(&found, &with(&weights)), None);
    for name in weights.keys() {
        // The scale belongs to the similarity; a bias of the keys moves all scores of a query alike.
        if name == "clip.logit_scale" || name.ends_with("k_proj.bias") {
            continue;
        }
        let mut other = weights.clone();
        for (place, value) in other.get_mut(name).unwrap().iter_mut().enumerate() {
            *value = 1.5 * *value + 0.3 * (place % 3) as f32;
        }
        assert!(difference(&found, &with(&other)).is_some(), "{name} makes no difference");
    }
}
