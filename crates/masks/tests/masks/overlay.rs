use clipseg_masks::{Error, Mask};

#[test]
fn a_mask_tints_the_photo_and_its_edge_is_drawn() {
    let pixels = (0..25).map(|place| (1..4).contains(&(place % 5)) && (1..4).contains(&(place / 5)));
    let mask = Mask::new(5, 5, pixels.collect()).unwrap();
    let laid_over = |outline| mask.laid_over(&[100; 75], [255, 64, 96], 0.5, outline).unwrap();
    let pixel = |rgb: &[u8], x: usize, y: usize| rgb[(y * 5 + x) * 3..][..3].to_vec();
    let rgb = laid_over(1);
    assert_eq!(pixel(&rgb, 0, 2), [100; 3]);
    assert_eq!(pixel(&rgb, 1, 2), [255, 64, 96]);
    assert_eq!(pixel(&rgb, 2, 2), [178, 82, 98]);
    assert_eq!(pixel(&laid_over(0), 1, 2), [178, 82, 98]);
    assert_eq!(pixel(&laid_over(usize::MAX), 2, 2), [255, 64, 96]);
}

#[test]
fn photos_of_another_size_and_impossible_opacities_are_refused() {
    let mask = Mask::new(2, 1, vec![true, false]).unwrap();
    assert!(matches!(mask.laid_over(&[0; 5], [0; 3], 0.5, 0), Err(Error::Length { .. })));
    for opacity in [-0.1, 1.1, f32::NAN] {
        assert!(matches!(mask.laid_over(&[0; 6], [0; 3], opacity, 0), Err(Error::Probability(_))));
    }
    let empty = Mask::new(0, 3, Vec::new()).unwrap();
    assert!(empty.laid_over(&[], [0; 3], 1.0, 1).unwrap().is_empty());
}
