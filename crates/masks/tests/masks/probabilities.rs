//! Tests of combining probabilities, and of masks made from them.

use clipseg_masks::{Combination, Connectivity, Error, Mask, MaskOptions, ProbabilityMap};
use proptest::prelude::*;

use crate::support::{drawn, masks};

fn row(values: &[f32]) -> ProbabilityMap {
    ProbabilityMap::new(values.len(), 1, values.to_vec()).unwrap()
}

#[test]
fn maps_combine_pixel_by_pixel() {
    let (cat, toy) = (row(&[0.75, 0.5, 0.25, 1.0]), row(&[0.25, 0.625, 0.25, 0.0]));
    let combined = |combination| {
        let mut map = cat.clone();
        map.combine(&toy, combination).unwrap();
        map.values().to_vec()
    };
    assert_eq!(combined(Combination::Any), [0.75, 0.625, 0.25, 1.0]);
    assert_eq!(combined(Combination::All), [0.25, 0.5, 0.25, 0.0]);
    let less = |weight| {
        let mut map = cat.clone();
        map.subtract(&toy, weight).unwrap();
        map.values().to_vec()
    };
    assert_eq!(less(1.0), [0.5, 0.0, 0.0, 1.0]);
    assert_eq!(less(0.5), [0.625, 0.1875, 0.125, 1.0]);
    assert_eq!(less(0.0), cat.values());
    assert_eq!(less(ProbabilityMap::MAX_WEIGHT), [0.0, 0.0, 0.0, 1.0]);
    assert_eq!((cat.peak(), row(&[]).peak()), (1.0, 0.0));
}

#[test]
fn presence_is_the_mean_of_the_largest() {
    let mut values = vec![0.125; 1000];
    (values[3], values[700]) = (1.0, 0.5);
    assert_eq!(row(&values).presence(), 0.75);
    assert_eq!(row(&[0.25, 0.5]).presence(), 0.5, "at least one pixel counts");
    assert_eq!((row(&[]).presence(), row(&[0.0; 9]).presence()), (0.0, 0.0));
}

#[test]
fn impossible_probabilities_are_refused() {
    let is_refused = |result: Result<(), Error>| matches!(result, Err(Error::Probability(_)));
    for value in [f32::NAN, -0.01, 1.01, f32::INFINITY] {
        assert!(is_refused(ProbabilityMap::new(2, 1, vec![0.5, value]).map(|_| ())));
        let options = MaskOptions { threshold: value, ..MaskOptions::default() };
        assert!(is_refused(options.mask(&row(&[0.5])).map(|_| ())));
    }
    let mut map = row(&[0.5]);
    for weight in [f32::NAN, -1.0, f32::INFINITY, 1e30] {
        assert!(is_refused(map.subtract(&row(&[0.5]), weight)), "{weight}");
    }
    assert!(matches!(map.combine(&row(&[0.5, 0.5]), Combination::Any), Err(Error::Sizes { .. })));
    assert!(matches!(ProbabilityMap::new(2, 2, vec![0.5]), Err(Error::Length { values: 1, .. })));
    for options in [
        MaskOptions { grow: f64::NAN, ..MaskOptions::default() },
        MaskOptions { grow: -1e30, ..MaskOptions::default() },
        MaskOptions { feather: -1.0, ..MaskOptions::default() },
    ] {
        assert!(matches!(options.mask(&map), Err(Error::Distance(_))));
        assert!(matches!(options.soft(&drawn(&["#"])), Err(Error::Distance(_))));
    }
}

/// Small components are dropped before the rest grows: the speck leaves no blob.
#[test]
fn steps_follow_their_order() {
    let values: Vec<f32> = [".....#", "......", "##....", "##...."]
        .iter()
        .flat_map(|row| row.bytes().map(|byte| if byte == b'#' { 0.75 } else { 0.25 }))
        .collect();
    let map = ProbabilityMap::new(6, 4, values).unwrap();
    let options = MaskOptions { min_area: 2, grow: 1.0, ..MaskOptions::default() };
    let grown = options.mask(&map).unwrap();
    assert_eq!(grown, drawn(&["......", "##....", "###...", "###..."]));
    assert_eq!(options.soft(&grown), Ok(None));
    let rest = MaskOptions { invert: true, threshold: 0.75, ..MaskOptions::default() }.mask(&map).unwrap();
    assert_eq!(rest, drawn(&["#####.", "######", "..####", "..####"]));
    let shrunk = MaskOptions { grow: -1.0, feather: 1.0, ..MaskOptions::default() };
    let mask = shrunk.mask(&map).unwrap();
    assert_eq!(mask, drawn(&["......", "......", "......", "#....."]));
    assert_eq!(shrunk.soft(&mask), mask.feathered(1.0).map(Some));
}

proptest! {
    #[test]
    fn sets_are_by_definition(one in masks(), seed in any::<u64>()) {
        let other = one.pixels().iter().zip(0..).map(|(&inside, place)| inside ^ (seed >> (place % 64) & 1 == 1));
        let other = Mask::new(one.width(), one.height(), other.collect()).unwrap();
        let [union, intersection, difference] =
            [one.union(&other), one.intersection(&other), one.difference(&other)].map(Result::unwrap);
        let pixels = one.pixels().iter().zip(other.pixels());
        for (place, (&one, &other)) in pixels.enumerate() {
            prop_assert_eq!(union.pixels()[place], one || other);
            prop_assert_eq!(intersection.pixels()[place], one && other);
            prop_assert_eq!(difference.pixels()[place], one && !other);
        }
        prop_assert_eq!(one.inverted().inverted(), one);
    }

    #[test]
    fn options_do_what_their_steps_do(mask in masks(), invert: bool, min_area in 0_usize..9, grow in -4.0..4.0_f64) {
        let values = mask.pixels().iter().map(|&inside| if inside { 0.5 } else { 0.49 }).collect();
        let map = ProbabilityMap::new(mask.width(), mask.height(), values).unwrap();
        let options = MaskOptions { invert, min_area, grow, ..MaskOptions::default() };
        let expected = if invert { mask.inverted() } else { mask };
        let expected = expected.without_small(min_area, Connectivity::Eight);
        let expected = if grow < 0.0 { expected.shrunk(-grow) } else { expected.grown(grow) };
        prop_assert_eq!(options.mask(&map), expected);
    }
}
