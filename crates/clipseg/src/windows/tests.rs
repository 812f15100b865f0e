use clipseg_testing::Random;

use super::*;

#[test]
fn windows_cover_a_side_evenly_and_overlap_enough() {
    for (length, window, overlap) in
        [(352, 352, 0.25), (353, 352, 0.25), (704, 352, 0.25), (1000, 128, 0.5), (300, 100, 0.0)]
    {
        let starts: Vec<_> = starts(length, window, overlap).collect();
        assert_eq!((starts[0], starts[starts.len() - 1]), (0, length - window));
        let strides: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            strides.iter().all(|&stride| stride as f32 <= window as f32 * (1.0 - overlap) + 1.0),
            "{starts:?}"
        );
        assert!(strides.iter().max().unwrap_or(&0) - strides.iter().min().unwrap_or(&0) <= 1, "{starts:?}");
    }
    assert_eq!(starts(704, 352, 0.25).collect::<Vec<_>>(), [0, 176, 352]);
    assert_eq!(starts(300, 100, 0.0).count(), 3);
}

#[test]
fn photos_are_enlarged_in_their_proportions() {
    let size = |photo, scale| Grid::new(photo, [352, 352], scale, 0.25).map(|grid| grid.size);
    assert_eq!(size([4000, 3000], 1.0).unwrap(), [352, 352]);
    assert_eq!(size([4000, 3000], 2.0).unwrap(), [939, 704]);
    assert_eq!(size([300, 400], 1.5).unwrap(), [528, 704]);
    assert!(size([40_000, 10], 2.0).unwrap_err().to_string().contains("scale 2"));
}

/// Windows cut out of a map blend into that map, for every prompt, whatever its values.
#[test]
fn windows_of_a_map_blend_into_the_map() {
    let (width, height) = (37, 23);
    for (window, overlap) in [([16, 16], 0.25), ([10, 23], 0.5), ([37, 7], 0.0)] {
        let map: Vec<f32> = Random(7).values(2 * height * width).iter().map(|value| 8.0 * value).collect();
        let mut blend = Blend::new(2, width, height, overlap);
        for top in starts(height, window[1], overlap) {
            for left in starts(width, window[0], overlap) {
                let row = |prompt: usize, row: usize| {
                    &map[(prompt * height + top + row) * width + left..][..window[0]]
                };
                let rows = (0..2).flat_map(|prompt| (0..window[1]).map(move |row| (prompt, row)));
                let values = rows.flat_map(|(prompt, index)| row(prompt, index)).copied().collect();
                blend.add([left, top], &Array { shape: vec![2, window[1], window[0]], values });
            }
        }
        for (found, expected) in blend.finish().values.iter().zip(&map) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

/// Where one window ends and the next goes on with another answer, neighbouring pixels differ little.
#[test]
fn seams_fade() {
    let mut blend = Blend::new(1, 24, 16, 0.5);
    for (left, answer) in [(0, -4.0), (8, 4.0)] {
        blend.add([left, 0], &Array { shape: vec![1, 16, 16], values: vec![answer; 256] });
    }
    let row = &blend.finish().values[..24];
    assert_eq!((row[0], row[23]), (-4.0, 4.0));
    assert!(row.windows(2).all(|pair| (0.0..=1.01).contains(&(pair[1] - pair[0]))), "{row:?}");
}

#[test]
fn impossible_windows_are_refused_by_name() {
    let refused = |windows: Windows, part: &str| {
        let message = windows.validate().unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(Windows { scales: vec![], overlap: 0.2 }, "at least one scale");
    refused(Windows { scales: vec![1.0, 0.5], overlap: 0.2 }, "0.5");
    refused(Windows { scales: vec![f32::NAN], overlap: 0.2 }, "NaN");
    refused(Windows { scales: vec![2.0], overlap: 0.9 }, "0.9");
}
