//! Tests of sizes that masks cannot have, and of unusual ones that they can.

use clipseg_masks::{Connectivity, Error, LabelMap, Mask, RunLengths};

#[test]
fn pixels_must_fill_the_sides() {
    let short = Mask::new(2, 2, vec![true; 3]).unwrap_err();
    assert_eq!(short, Error::Length { width: 2, height: 2, values: 3 });
    assert_eq!(short.to_string(), "3 values given for 2 × 2 pixels; give one per pixel");
    for (width, height) in [(usize::MAX, 2), (usize::MAX, 0), (0, usize::MAX), (1 << 16, 1 << 15)] {
        assert_eq!(Mask::new(width, height, Vec::new()), Err(Error::TooLarge { width, height }));
        assert!(LabelMap::new(width, height).is_err());
    }
}

#[test]
fn a_mask_without_pixels_has_nothing() {
    for (width, height) in [(0, 0), (0, 5), (5, 0)] {
        let mask = Mask::new(width, height, Vec::new()).unwrap();
        assert_eq!((mask.area(), mask.bounding_box()), (0, None));
        assert!(mask.components(Connectivity::Eight).list().is_empty());
        assert!(mask.contours(Connectivity::Eight).is_empty());
        let lengths = RunLengths::of(&mask);
        assert_eq!(lengths.counts(), [0]);
        assert_eq!(lengths.to_mask(), mask);
    }
}
