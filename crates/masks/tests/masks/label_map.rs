//! Compares label maps with their definition.

use clipseg_masks::{Error, LabelMap, Mask};
use proptest::prelude::*;

fn thresholded(probabilities: &[f32], threshold: f32) -> Mask {
    let pixels = probabilities.iter().map(|&probability| probability >= threshold).collect();
    Mask::new(probabilities.len(), 1, pixels).unwrap()
}

fn map(prompts: &[Vec<f32>], threshold: f32) -> LabelMap {
    let mut map = LabelMap::new(prompts[0].len(), 1).unwrap();
    for (probabilities, label) in prompts.iter().zip(1..) {
        assert_eq!(map.add(&thresholded(probabilities, threshold), probabilities), Ok(label));
    }
    map
}

#[test]
fn the_most_probable_wins_and_the_first_of_equals() {
    let prompts = [vec![0.2, 0.6, 0.7, 0.9, 0.5], vec![0.4, 0.8, 0.7, 0.3, f32::NAN]];
    let map = map(&prompts, 0.5);
    assert_eq!(map.labels(), [0, 2, 1, 1, 1]);
    assert_eq!(map.areas(), [1, 3, 1]);
    assert_eq!(map.to_bytes().unwrap(), [0, 2, 1, 1, 1]);
}

#[test]
fn a_threshold_of_zero_leaves_no_background() {
    assert_eq!(map(&[vec![0.0, 0.0], vec![0.0, 0.1]], 0.0).labels(), [1, 2]);
}

#[test]
fn labels_are_sixteen_bits_at_most() {
    let (mask, probability) = (Mask::new(1, 1, vec![true]).unwrap(), |label: u32| [label as f32]);
    let mut map = LabelMap::new(1, 1).unwrap();
    for label in 1..=u32::from(u16::MAX) {
        map.add(&mask, &probability(label)).unwrap();
        assert_eq!(map.to_bytes().is_some(), label <= 255);
    }
    assert_eq!(map.add(&mask, &probability(65536)), Err(Error::TooManyLabels));
    assert_eq!((map.labels(), map.count()), (&[u16::MAX][..], u16::MAX));
}

#[test]
fn other_sizes_are_refused() {
    let mut map = LabelMap::new(2, 3).unwrap();
    let turned = Mask::new(3, 2, vec![true; 6]).unwrap();
    assert_eq!(map.add(&turned, &[0.0; 6]), Err(Error::Sizes { expected: (2, 3), found: (3, 2) }));
    let mask = Mask::new(2, 3, vec![true; 6]).unwrap();
    assert_eq!(map.add(&mask, &[0.0; 5]), Err(Error::Length { width: 2, height: 3, values: 5 }));
    assert_eq!((map.count(), map.labels()), (0, &[0; 6][..]));
}

proptest! {
    #[test]
    fn labels_are_the_argmax(
        prompts in (1_usize..20).prop_flat_map(|pixels| {
            // Only a few different values, so that ties are frequent.
            let value = (0_u8..=8).prop_map(|value| f32::from(value) / 8.0);
            prop::collection::vec(prop::collection::vec(value, pixels), 1..6)
        }),
        threshold in 0.0_f32..=1.0,
    ) {
        let map = map(&prompts, threshold);
        for (pixel, &label) in map.labels().iter().enumerate() {
            let most = prompts.iter().map(|prompt| prompt[pixel]).fold(0.0, f32::max);
            let first = prompts.iter().position(|prompt| prompt[pixel] == most).unwrap() as u16;
            prop_assert_eq!(label, if most >= threshold { first + 1 } else { 0 });
        }
    }
}
