//! Compares components with a flood fill.

use clipseg_masks::{BoundingBox, Component, Connectivity, Mask, RunLengths};
use proptest::prelude::*;

use crate::support::{CONNECTIVITIES, drawn, masks, neighbours};

/// Labels by flood fill, numbered in the order of the components' first pixels.
fn flooded(mask: &Mask, connectivity: Connectivity) -> Vec<u32> {
    let mut labels = vec![0; mask.pixels().len()];
    let mut next = 1;
    for start in 0..labels.len() {
        let mut waiting = vec![start];
        let mut is_new = false;
        while let Some(place) = waiting.pop() {
            if mask.pixels()[place] && labels[place] == 0 {
                labels[place] = next;
                is_new = true;
                waiting.extend(neighbours(mask, place, connectivity));
            }
        }
        next += u32::from(is_new);
    }
    labels
}

/// Area and box by their definitions.
fn measured(labels: &[u32], width: usize, label: u32) -> Component {
    let places: Vec<_> = (0..labels.len()).filter(|&place| labels[place] == label).collect();
    let span = |axis: fn(usize, usize) -> usize| {
        let values = places.iter().map(|&place| axis(place, width) as u32);
        (values.clone().min().unwrap(), values.max().unwrap())
    };
    let ((x, right), (y, bottom)) = (span(|place, width| place % width), span(|place, width| place / width));
    let bounding_box = BoundingBox { x, y, width: right - x + 1, height: bottom - y + 1 };
    Component { area: places.len(), bounding_box }
}

#[test]
fn a_corner_joins_by_eight_alone() {
    let mask = drawn(&["##..#", "..#..", ".#..#"]);
    let areas = |connectivity| -> Vec<_> {
        mask.components(connectivity).list().iter().map(|component| component.area).collect()
    };
    assert_eq!(areas(Connectivity::Four), [2, 1, 1, 1, 1]);
    assert_eq!(areas(Connectivity::Eight), [4, 1, 1]);
    assert_eq!(mask.bounding_box().unwrap().to_array(), [0, 0, 5, 3]);
    assert_eq!(mask.without_small(2, Connectivity::Eight), drawn(&["##...", "..#..", ".#..."]));
    assert_eq!(mask.without_small(2, Connectivity::Four), drawn(&["##...", ".....", "....."]));
}

/// Parts that start separately and meet only far below.
#[test]
fn late_meetings_join() {
    let mask = drawn(&["#.#.#", "#.#.#", "#.#.#", "#.#.#", "#####"]);
    for connectivity in CONNECTIVITIES {
        let components = mask.components(connectivity);
        assert_eq!(components.list().len(), 1);
        assert_eq!(components.list()[0].area, 17);
    }
}

proptest! {
    #[test]
    fn components_are_those_of_a_flood_fill(mask in masks()) {
        for connectivity in CONNECTIVITIES {
            let expected = flooded(&mask, connectivity);
            let components = mask.components(connectivity);
            prop_assert_eq!(components.labels(), &*expected);
            prop_assert_eq!(components.list().len() as u32, expected.iter().copied().max().unwrap_or(0));
            for (component, label) in components.list().iter().zip(1..) {
                prop_assert_eq!(*component, measured(&expected, mask.width(), label));
            }
        }
    }

    #[test]
    fn what_is_dropped_is_small(mask in masks(), min_area in 0_usize..20) {
        for connectivity in CONNECTIVITIES {
            let kept = mask.without_small(min_area, connectivity);
            let components = mask.components(connectivity);
            for (label, (&before, &after)) in
                components.labels().iter().zip(mask.pixels().iter().zip(kept.pixels()))
            {
                let is_large =
                    before && components.list()[*label as usize - 1].area >= min_area;
                prop_assert_eq!(after, is_large);
            }
        }
    }

    #[test]
    fn each_part_has_run_lengths_and_a_mean(mask in masks(), seed in 0_u32..1000) {
        let value = |place: usize| ((place as u32).wrapping_mul(seed) % 97) as f32 / 97.0;
        let values: Vec<_> = (0..mask.pixels().len()).map(value).collect();
        for connectivity in CONNECTIVITIES {
            let components = mask.components(connectivity);
            let labels = components.labels();
            let (lengths, means) = (components.run_lengths(), components.means(&values).unwrap());
            prop_assert_eq!((lengths.len(), means.len()), (components.list().len(), components.list().len()));
            for ((label, lengths), mean) in (1..).zip(lengths).zip(means) {
                let pixels = labels.iter().map(|&other| other == label).collect();
                let part = Mask::new(mask.width(), mask.height(), pixels).unwrap();
                prop_assert_eq!(lengths, RunLengths::of(&part));
                let inside = values.iter().zip(part.pixels()).filter(|(_, inside)| **inside);
                let sum: f32 = inside.map(|(value, _)| value).sum();
                prop_assert!((mean - sum / part.area() as f32).abs() < 1e-4);
            }
        }
        prop_assert!(mask.components(Connectivity::Four).means(&vec![0.0; values.len() + 1]).is_err());
    }

    #[test]
    fn the_box_is_the_components_together(mask in masks()) {
        let labels: Vec<_> = mask.pixels().iter().map(|&inside| u32::from(inside)).collect();
        let expected = (mask.area() > 0).then(|| measured(&labels, mask.width(), 1));
        prop_assert_eq!(mask.bounding_box(), expected.map(|component| component.bounding_box));
        prop_assert_eq!(mask.area(), expected.map_or(0, |component| component.area));
    }
}
