//! The numbers equal those that `tools/fixtures/synth.py --expected xtask/src/synth/expected.json` printed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Preset;
use super::layout::{self, Config};
use super::numbers::{bits_of, checksum};

#[derive(Deserialize)]
struct Expected {
    preset: Preset,
    seed: u64,
    tensors: BTreeMap<String, ExpectedTensor>,
}

#[derive(Deserialize)]
struct ExpectedTensor {
    shape: Vec<usize>,
    first_bits: u32,
    last_bits: u32,
    checksum: String,
}

#[test]
fn numbers_equal_pythons() {
    let expected: Expected = serde_json::from_str(include_str!("expected.json")).unwrap();
    let shapes = serde_json::from_str::<Config>(expected.preset.config()).unwrap().shapes();
    for (name, tensor) in expected.tensors {
        assert_eq!(shapes[&name], tensor.shape, "shape of {name}");
        let len = tensor.shape.iter().product();
        let bits = bits_of(&layout::recipe(&name, &tensor.shape).bytes(expected.seed, &name, len));
        assert_eq!(bits[0], tensor.first_bits, "first number of {name}");
        assert_eq!(bits[len - 1], tensor.last_bits, "last number of {name}");
        assert_eq!(format!("{:016x}", checksum(&bits)), tensor.checksum, "checksum of {name}");
    }
}

#[test]
fn the_published_architecture_has_its_parameters() {
    let shapes = serde_json::from_str::<Config>(Preset::ClipsegRd64Refined.config()).unwrap().shapes();
    let parameters: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
    assert_eq!(parameters, 150_747_746);
}

#[test]
fn another_seed_gives_other_numbers() {
    let recipe = layout::recipe("decoder.film_mul.weight", &[64, 512]);
    assert_ne!(
        recipe.bytes(0, "decoder.film_mul.weight", 64),
        recipe.bytes(1, "decoder.film_mul.weight", 64)
    );
}
