//! Compares run lengths with those of pycocotools.

use clipseg_masks::{Error, Mask, RunLengths};
use proptest::prelude::*;
use serde::Deserialize;

use crate::support::{drawn, masks};

/// A case that `tools/fixtures/make_masks.py` wrote.
#[derive(Deserialize)]
struct Case {
    /// `[height, width]`
    size: [usize; 2],
    counts: Vec<u32>,
    compressed: String,
    #[serde(flatten)]
    mask: Option<MaskCase>,
}

#[derive(Deserialize)]
struct MaskCase {
    rows: Vec<String>,
    area: usize,
    bbox: [u32; 4],
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/masks/run-lengths.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn run_lengths_are_those_of_pycocotools() {
    let mut masks = 0;
    for Case { size: [height, width], counts, compressed, mask } in cases() {
        let lengths = RunLengths::from_counts(width, height, counts).unwrap();
        assert_eq!(lengths.to_compressed(), compressed);
        assert_eq!(RunLengths::from_compressed(width, height, &compressed), Ok(lengths.clone()));
        if let Some(MaskCase { rows, area, bbox }) = mask {
            let mask = drawn(&rows);
            assert_eq!(RunLengths::of(&mask), lengths, "{rows:#?}");
            assert_eq!(lengths.to_mask(), mask);
            assert_eq!(mask.area(), area);
            // For an empty mask, pycocotools gives a box of all zeros.
            assert_eq!(mask.bounding_box().map_or([0; 4], |found| found.to_array()), bbox, "{rows:#?}");
            masks += 1;
        }
    }
    assert!(masks > 20);
}

#[test]
fn strings_that_are_none_are_refused() {
    let refused = |text: &str| RunLengths::from_compressed(3, 2, text).unwrap_err().to_string();
    assert_eq!(
        RunLengths::from_compressed(3, 2, "6").unwrap().to_mask(),
        Mask::new(3, 2, vec![false; 6]).unwrap()
    );
    for (text, word) in [
        ("7", "add up to 7, but 3 × 2 are 6 pixels"),
        ("", "add up to 0"),
        ("2/", "character 1 "),
        ("2p", "character 1 "),
        ("2é", "character 1 "),
        ("2P", "was cut"),
        ("O", "a run of -1 pixels at character 0"),
        ("PPPPPPP0", "character 7 "),
        ("ooooooO", "a run of -1 pixels at character 6"),
    ] {
        assert!(refused(text).contains(word), "{text}: {}", refused(text));
    }
    let too_large = RunLengths::from_compressed(usize::MAX, 2, "0");
    assert_eq!(too_large, Err(Error::TooLarge { width: usize::MAX, height: 2 }));
}

/// This crate never writes counts of zero between others, but they are legal.
#[test]
fn empty_runs_are_read() {
    let lengths = RunLengths::from_counts(2, 2, vec![1, 0, 1, 2, 0]).unwrap();
    assert_eq!(lengths.to_mask(), drawn(&[".#", ".#"]));
}

proptest! {
    #[test]
    fn masks_come_back(mask in masks()) {
        let lengths = RunLengths::of(&mask);
        prop_assert_eq!(&lengths.to_mask(), &mask);
        let again = RunLengths::from_compressed(mask.width(), mask.height(), &lengths.to_compressed());
        prop_assert_eq!(again, Ok(lengths));
    }

    #[test]
    fn counts_come_back(counts in prop::collection::vec(0_u32..40_000_000, 0..50)) {
        let lengths = RunLengths::from_counts(counts.iter().sum::<u32>() as usize, 1, counts).unwrap();
        let again = RunLengths::from_compressed(lengths.width(), 1, &lengths.to_compressed());
        prop_assert_eq!(again, Ok(lengths));
    }

    #[test]
    fn arbitrary_strings_never_panic(text in "[ -~]{0,30}|.{0,10}") {
        let _ = RunLengths::from_compressed(100, 100, &text);
    }
}
