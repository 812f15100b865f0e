//! Compares scenes and prompts with those of `tools/training/shapes.py`, by checksum.

use clipseg_shapes::{Prompt, Scene};
use serde::Deserialize;

#[derive(Deserialize, PartialEq, Debug)]
struct Row {
    seed: u64,
    index: u64,
    pixels: u32,
    labels: u32,
    support_pixels: u32,
    texts: Vec<String>,
    members: Vec<Vec<usize>>,
}

#[test]
fn scenes_are_those_of_python() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/shapes/scenes.jsonl");
    let expected = std::fs::read_to_string(path).expect("a fixture");
    let mut scenes = 0;
    for line in expected.lines() {
        let expected: Row = serde_json::from_str(line).expect("a row");
        let (seed, index) = (expected.seed, expected.index);
        let scene = Scene::new(seed, index);
        let queries = scene.queries(seed, index);
        let mut row = Row {
            seed,
            index,
            pixels: crc32fast::hash(&scene.pixels),
            labels: crc32fast::hash(&scene.labels),
            support_pixels: 0,
            texts: Vec::new(),
            members: queries.iter().map(|query| query.members.clone()).collect(),
        };
        for query in &queries {
            match &query.prompt {
                Prompt::Text(text) => row.texts.push(text.clone()),
                Prompt::Image(support) => row.support_pixels = crc32fast::hash(&support.pixels),
            }
        }
        assert_eq!(row, expected);
        scenes += 1;
    }
    assert!(scenes >= 64);
}
