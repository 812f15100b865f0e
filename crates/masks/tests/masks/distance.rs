//! Compares distances, and the masks made with them, with scipy and with their definitions.

use clipseg_masks::{Error, Mask};
use proptest::prelude::*;
use serde::Deserialize;

use crate::support::{drawn, masks};

/// A case that `tools/fixtures/make_masks.py` wrote.
#[derive(Deserialize)]
struct Case {
    rows: Vec<String>,
    squares: Vec<f64>,
}

/// The squared distance from a pixel to the nearest that is inside (or outside), found by looking at all of
/// them.
fn nearest(mask: &Mask, place: usize, inside: bool) -> Option<f64> {
    let at = |place: usize| ((place % mask.width()) as f64, (place / mask.width()) as f64);
    let (x, y) = at(place);
    let others = (0..mask.pixels().len()).filter(|&other| mask.pixels()[other] == inside).map(at);
    others.map(|(other_x, other_y)| (x - other_x).powi(2) + (y - other_y).powi(2)).reduce(f64::min)
}

#[test]
fn distances_are_those_of_scipy() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/masks/distances.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() > 15);
    for Case { rows, squares } in cases {
        let expected: Vec<_> = squares.iter().map(|square| square.sqrt() as f32).collect();
        assert_eq!(drawn(&rows).distances(), expected, "{rows:#?}");
    }
}

#[test]
fn growing_rounds_corners() {
    let dot = drawn(&[".....", ".....", "..#..", ".....", "....."]);
    let grown = |pixels| dot.grown(pixels).unwrap();
    assert_eq!(grown(0.9), dot);
    assert_eq!(grown(1.0), drawn(&[".....", "..#..", ".###.", "..#..", "....."]));
    assert_eq!(grown(1.5), drawn(&[".....", ".###.", ".###.", ".###.", "....."]));
    assert_eq!(grown(2.0), drawn(&["..#..", ".###.", "#####", ".###.", "..#.."]));
    assert_eq!(grown(1e5).area(), 25);
    assert_eq!(grown(2.0).shrunk(2.0).unwrap(), dot);
}

/// What is visible at the picture's sides continues beyond them.
#[test]
fn the_pictures_sides_are_no_edge() {
    let left = drawn(&["##..", "##..", "##.."]);
    assert_eq!(left.shrunk(1.0).unwrap(), drawn(&["#...", "#...", "#..."]));
    let full = drawn(&["###", "###"]);
    assert_eq!(full.shrunk(1e5).unwrap(), full);
    assert_eq!(full.feathered(3.0).unwrap(), [1.0; 6]);
    assert_eq!(full.distances(), [f32::INFINITY; 6]);
    assert_eq!(full.signed_distances(), [f32::INFINITY; 6]);
    let empty = full.inverted();
    assert_eq!(empty.grown(1e5).unwrap(), empty);
    assert_eq!(empty.feathered(3.0).unwrap(), [0.0; 6]);
    assert_eq!(empty.signed_distances(), [f32::NEG_INFINITY; 6]);
}

#[test]
fn soft_edges_fade_evenly_to_both_sides() {
    let half = drawn(&["....####"]);
    assert_eq!(half.signed_distances(), [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]);
    assert_eq!(half.feathered(2.0).unwrap(), [0.0, 0.0, 0.125, 0.375, 0.625, 0.875, 1.0, 1.0]);
    for hard in [0.0, 0.5] {
        assert_eq!(half.feathered(hard).unwrap(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    }
    let grown = half.grown(2.0).unwrap().feathered(2.0).unwrap();
    assert_eq!(grown[4..], [1.0; 4], "grown by as much, it is whole where it was");
}

#[test]
fn impossible_distances_are_refused() {
    let mask = drawn(&["#."]);
    for pixels in [-1.0, f64::NAN, f64::INFINITY, 1e30] {
        for refused in [mask.grown(pixels), mask.shrunk(pixels), mask.feathered(pixels).map(|_| mask.clone())]
        {
            let error = refused.unwrap_err();
            assert!(matches!(error, Error::Distance(_)), "{error:?}");
            assert!(error.to_string().contains(&pixels.to_string()), "{error}");
        }
    }
    for (width, height) in [(0, 0), (0, 5), (5, 0)] {
        let none = Mask::new(width, height, vec![]).unwrap();
        assert_eq!(none.grown(3.0).unwrap(), none);
        assert!(none.feathered(3.0).unwrap().is_empty() && none.distances().is_empty());
    }
}

/// Distances whose squares need 33 bits and more.
#[test]
fn long_strips_are_measured_exactly() {
    for (width, height) in [(200_001, 1), (1, 200_001)] {
        let mut pixels = vec![true; 200_001];
        pixels[0] = false;
        let mask = Mask::new(width, height, pixels).unwrap();
        let distances = mask.distances();
        assert_eq!((distances[0], distances[77_777], distances[200_000]), (0.0, 77_777.0, 200_000.0));
        assert_eq!(mask.inverted().grown(1e5).unwrap().area(), 100_001);
    }
}

proptest! {
    #[test]
    fn distances_are_by_definition(mask in masks()) {
        let (distances, signed) = (mask.distances(), mask.signed_distances());
        prop_assert_eq!(distances.len(), mask.pixels().len());
        for (place, &inside) in mask.pixels().iter().enumerate() {
            let outside = nearest(&mask, place, false).map_or(f32::INFINITY, |square| square.sqrt() as f32);
            prop_assert_eq!(distances[place], outside);
            let other = nearest(&mask, place, !inside).map_or(f32::INFINITY, |square| square.sqrt() as f32);
            prop_assert_eq!(signed[place], if inside { other - 0.5 } else { 0.5 - other });
        }
    }

    #[test]
    fn masks_grow_and_shrink_by_definition(mask in masks(), pixels in 0.0..25.0_f64) {
        let (grown, shrunk) = (mask.grown(pixels).unwrap(), mask.shrunk(pixels).unwrap());
        let reach = pixels * pixels;
        for place in 0..mask.pixels().len() {
            let is_near = |inside| nearest(&mask, place, inside).is_some_and(|square| square <= reach);
            prop_assert_eq!(grown.pixels()[place], is_near(true));
            prop_assert_eq!(shrunk.pixels()[place], !is_near(false));
        }
        prop_assert_eq!(mask.inverted().grown(pixels).unwrap().inverted(), shrunk);
    }

    #[test]
    fn soft_edges_are_symmetric(mask in masks(), pixels in 0.0..12.0_f64) {
        let (soft, other) = (mask.feathered(pixels).unwrap(), mask.inverted().feathered(pixels).unwrap());
        for ((&inside, &soft), &other) in mask.pixels().iter().zip(&soft).zip(&other) {
            prop_assert!((soft + other - 1.0).abs() < 1e-6, "{} {}", soft, other);
            prop_assert!((0.0..=1.0).contains(&soft) && (soft > 0.5) == inside);
        }
    }
}
