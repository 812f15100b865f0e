//! Checks that polygons enclose exactly the mask.

use clipseg_masks::{Connectivity, Contour, Mask, Ring};
use proptest::prelude::*;

use crate::support::{CONNECTIVITIES, drawn, masks};

/// Edges of a ring, the last point joined to the first.
fn edges(ring: &Ring) -> impl Iterator<Item = ([u32; 2], [u32; 2])> {
    ring.points.iter().copied().zip(ring.points.iter().copied().cycle().skip(1))
}

/// Twice the enclosed area, above zero for rings that run clockwise on screen.
fn doubled_area(ring: &Ring) -> i64 {
    edges(ring)
        .map(|([x0, y0], [x1, y1])| [x0, y0, x1, y1].map(i64::from))
        .fold(0, |sum, [x0, y0, x1, y1]| sum + x0 * y1 - x1 * y0)
}

/// The pixels whose centre lies in an odd number of rings: those with an odd number of vertical edges to
/// their left.
fn filled<'a>(rings: impl Iterator<Item = &'a Ring>, width: usize, height: usize) -> Vec<bool> {
    let mut pixels = vec![false; width * height];
    for ([x0, y0], [x1, y1]) in rings.flat_map(edges) {
        assert!(x0 == x1 || y0 == y1, "an edge that is not along the pixels'");
        if x0 == x1 {
            for y in y0.min(y1) as usize..y0.max(y1) as usize {
                for x in x0 as usize..width {
                    pixels[y * width + x] ^= true;
                }
            }
        }
    }
    pixels
}

fn rings(contours: &[Contour]) -> impl Iterator<Item = &Ring> {
    contours.iter().flat_map(|contour| std::iter::once(&contour.outer).chain(&contour.holes))
}

fn refilled(mask: &Mask, contours: &[Contour]) -> Mask {
    let (width, height) = (mask.width(), mask.height());
    Mask::new(width, height, filled(rings(contours), width, height)).unwrap()
}

#[test]
fn a_ring_has_a_hole() {
    let mask = drawn(&["###", "#.#", "###"]);
    for connectivity in CONNECTIVITIES {
        let contours = mask.contours(connectivity);
        assert_eq!(contours.len(), 1);
        assert_eq!(contours[0].outer.points, [[0, 0], [3, 0], [3, 3], [0, 3]]);
        assert_eq!(contours[0].holes[0].points, [[1, 2], [2, 2], [2, 1], [1, 1]]);
        assert_eq!(contours[0].outer.flat(), [0, 0, 3, 0, 3, 3, 0, 3]);
    }
}

#[test]
fn pixels_that_share_a_corner_are_one_polygon_or_two() {
    let mask = drawn(&["#.", ".#"]);
    let corners = |connectivity| -> Vec<_> {
        mask.contours(connectivity).iter().map(|contour| contour.outer.points.len()).collect()
    };
    assert_eq!(corners(Connectivity::Four), [4, 4]);
    assert_eq!(corners(Connectivity::Eight), [8]);
}

#[test]
fn what_lies_in_a_hole_is_its_own() {
    let mask = drawn(&["#####", "#...#", "#.#.#", "#...#", "#####"]);
    let contours = mask.contours(Connectivity::Eight);
    assert_eq!(contours.iter().map(|contour| contour.holes.len()).collect::<Vec<_>>(), [1, 0]);
}

/// The comparison in the property below must notice a corner that is one pixel off.
#[test]
fn a_displaced_corner_is_noticed() {
    let mask = drawn(&["....", ".##.", ".##.", "...."]);
    let mut contours = mask.contours(Connectivity::Eight);
    assert_eq!(refilled(&mask, &contours), mask);
    for point in &mut contours[0].outer.points[1..3] {
        point[0] += 1;
    }
    assert_ne!(refilled(&mask, &contours), mask);
}

#[test]
fn simplification_straightens_stairs_and_keeps_small_things() {
    let rows: Vec<_> = (1..=30).map(|length| "#".repeat(length) + &".".repeat(30 - length)).collect();
    let [stairs] = &drawn(&rows).contours(Connectivity::Four)[..] else { panic!("one component") };
    assert_eq!(stairs.outer.points.len(), 62);
    assert_eq!(stairs.simplified(0.0), *stairs);
    assert_eq!(stairs.simplified(f64::NAN), *stairs);
    let simple = stairs.simplified(1.0).outer;
    assert!((4..=6).contains(&simple.points.len()), "{simple:?}");
    let [dot] = &drawn(&["#"]).contours(Connectivity::Four)[..] else { panic!("one component") };
    assert_eq!(dot.simplified(100.0), *dot);
}

/// The distance of a point from a ring.
fn distance([x, y]: [u32; 2], ring: &Ring) -> f64 {
    let point = [f64::from(x), f64::from(y)];
    let to_edge = |(from, to): ([u32; 2], [u32; 2])| {
        let (from, to) = (from.map(f64::from), to.map(f64::from));
        let along = [to[0] - from[0], to[1] - from[1]];
        let length = along[0].hypot(along[1]).max(f64::MIN_POSITIVE);
        let unit = along.map(|value| value / length);
        let offset = [point[0] - from[0], point[1] - from[1]];
        let share = (offset[0] * unit[0] + offset[1] * unit[1]).clamp(0.0, length);
        (offset[0] - share * unit[0]).hypot(offset[1] - share * unit[1])
    };
    edges(ring).map(to_edge).fold(f64::INFINITY, f64::min)
}

proptest! {
    #[test]
    fn polygons_enclose_exactly_the_mask(mask in masks()) {
        for connectivity in CONNECTIVITIES {
            let contours = mask.contours(connectivity);
            prop_assert_eq!(&refilled(&mask, &contours), &mask);
        }
    }

    #[test]
    fn each_contour_is_one_component(mask in masks()) {
        for connectivity in CONNECTIVITIES {
            let (components, contours) = (mask.components(connectivity), mask.contours(connectivity));
            prop_assert_eq!(contours.len(), components.list().len());
            for ((contour, component), label) in contours.iter().zip(components.list()).zip(1..) {
                prop_assert!(doubled_area(&contour.outer) > 0);
                prop_assert!(contour.holes.iter().all(|hole| doubled_area(hole) < 0));
                let area: i64 = rings(std::slice::from_ref(contour)).map(doubled_area).sum();
                prop_assert_eq!(area, 2 * component.area as i64);
                let pixels = filled(rings(std::slice::from_ref(contour)), mask.width(), mask.height());
                let expected: Vec<_> = components.labels().iter().map(|&other| other == label).collect();
                prop_assert_eq!(pixels, expected);
            }
        }
    }

    #[test]
    fn rings_have_corners_alone(mask in masks()) {
        for ring in rings(&mask.contours(Connectivity::Eight)) {
            prop_assert!(ring.points.len() >= 4 && ring.points.len() % 2 == 0);
            for (corner, (from, to)) in edges(ring).enumerate() {
                // Horizontal and vertical in turn, and never empty.
                let moved = [from[0] != to[0], from[1] != to[1]];
                prop_assert_eq!(moved, [corner % 2 == 0, corner % 2 == 1]);
            }
        }
    }

    #[test]
    fn simplified_rings_stay_near(mask in masks(), tolerance in 0.1_f64..4.0) {
        for ring in rings(&mask.contours(Connectivity::Eight)) {
            let simple = ring.simplified(tolerance);
            prop_assert!(simple.points.len() >= 4 && simple.points.len() <= ring.points.len());
            for &point in &ring.points {
                prop_assert!(distance(point, &simple) <= tolerance + 1e-9, "{:?} {:?}", point, simple);
            }
        }
    }
}
