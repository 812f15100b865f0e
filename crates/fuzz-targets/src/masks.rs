use clipseg_masks::{Connectivity, LabelMap, Mask, MaskOptions, ProbabilityMap, Ring, RunLengths};

/// The input starts with width, height, a distance and a tolerance. The rest gives the probabilities of the
/// pixels, repeated if there are too few, and is also read as text with run lengths, of this size and of a
/// larger one.
pub fn run(input: &[u8]) -> bool {
    let Some((&[width, height, distance, tolerance], rest)) = input.split_first_chunk() else {
        return false;
    };
    let (width, height) = (usize::from(width % 40), usize::from(height % 40));
    let accepted = str::from_utf8(rest).is_ok_and(|text| {
        [1, 40].map(|scale| check_text(width * scale, height * scale, text)).contains(&true)
    });
    let bytes = rest.iter().cycle().copied().take(width * height);
    let values: Vec<f32> = bytes.map(|byte| f32::from(byte) / 255.0).collect();
    if values.len() < width * height {
        return accepted;
    }
    let probabilities = ProbabilityMap::new(width, height, values).unwrap();
    assert!((0.0..=1.0).contains(&probabilities.presence()));
    let mask = probabilities.mask(0.5);
    check_run_lengths(&mask);
    check_parts(&mask, f64::from(tolerance) / 16.0);
    check_edges(&mask, f64::from(distance) / 16.0);
    let options = MaskOptions {
        threshold: f32::from(tolerance) / 255.0,
        invert: distance % 2 == 1,
        min_area: usize::from(distance / 8),
        grow: f64::from(tolerance) / 16.0 - 8.0,
        feather: f64::from(distance) / 16.0,
    };
    let other = options.mask(&probabilities).unwrap();
    check_run_lengths(&other);
    let mut labels = LabelMap::new(width, height).unwrap();
    for mask in [&mask, &other] {
        labels.add(mask, probabilities.values()).unwrap();
    }
    assert_eq!(labels.areas().iter().sum::<usize>(), width * height);
    assert_eq!(
        mask.union(&other).unwrap().area() + mask.intersection(&other).unwrap().area(),
        mask.area() + other.area()
    );
    accepted
}

/// A text accepted as run lengths gives a mask. Encoding that again gives the same run lengths, except for
/// empty runs.
fn check_text(width: usize, height: usize, text: &str) -> bool {
    let Ok(lengths) = RunLengths::from_compressed(width, height, text) else {
        return false;
    };
    let counts = lengths.counts().iter().map(|&count| count as usize);
    assert_eq!(counts.sum::<usize>(), width * height);
    let again = RunLengths::from_compressed(width, height, &lengths.to_compressed());
    assert_eq!(again, Ok(lengths.clone()));
    check_run_lengths(&lengths.to_mask());
    true
}

fn check_run_lengths(mask: &Mask) {
    let lengths = RunLengths::of(mask);
    assert_eq!(lengths.to_mask(), *mask);
    let again = RunLengths::from_compressed(mask.width(), mask.height(), &lengths.to_compressed());
    assert_eq!(again, Ok(lengths));
}

/// Components and contours together have exactly the mask's pixels.
fn check_parts(mask: &Mask, tolerance: f64) {
    for connectivity in [Connectivity::Four, Connectivity::Eight] {
        let components = mask.components(connectivity);
        assert_eq!(components.list().iter().map(|part| part.area).sum::<usize>(), mask.area());
        let labels = components.labels();
        assert!(labels.iter().zip(mask.pixels()).all(|(&label, &inside)| (label > 0) == inside));
        for (part, lengths) in components.list().iter().zip(components.run_lengths()) {
            let part_mask = lengths.to_mask();
            assert_eq!(part_mask.area(), part.area);
            assert_eq!(part_mask.bounding_box(), Some(part.bounding_box));
        }
        let contours = mask.contours(connectivity);
        assert_eq!(contours.len(), components.list().len());
        for (contour, part) in contours.iter().zip(components.list()) {
            let holes: i64 = contour.holes.iter().map(area).sum();
            assert_eq!(area(&contour.outer) + holes, part.area as i64);
            let simple = contour.simplified(tolerance);
            assert!(simple.outer.points.len() <= contour.outer.points.len());
        }
        assert_eq!(mask.without_small(1, connectivity), *mask);
    }
}

/// The enclosed area of a ring; negative for a hole, which runs the other way round.
fn area(ring: &Ring) -> i64 {
    let next = ring.points.iter().cycle().skip(1);
    let cross = |([x, y], [u, v]): (&[u32; 2], &[u32; 2])| {
        i64::from(*x) * i64::from(*v) - i64::from(*u) * i64::from(*y)
    };
    ring.points.iter().zip(next).map(cross).sum::<i64>() / 2
}

fn check_edges(mask: &Mask, pixels: f64) {
    let (grown, shrunk) = (mask.grown(pixels).unwrap(), mask.shrunk(pixels).unwrap());
    assert_eq!(mask.difference(&grown).unwrap().area(), 0);
    assert_eq!(shrunk.difference(mask).unwrap().area(), 0);
    assert_eq!(mask.inverted().inverted(), *mask);
    let soft = mask.feathered(pixels).unwrap();
    assert_eq!(soft.len(), mask.pixels().len());
    assert!(soft.iter().all(|value| (0.0..=1.0).contains(value)));
}
