//! Pillow's resize of 8-bit RGB images, bit for bit (`Resample.c`): one pass across and one down, and each
//! rounds to bytes.

use super::filter::{PRECISION_BITS, Resample, Window, windows};

/// Half a unit of the result, so that truncating the fractional bits rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Resizes `rgb`, `[height, width, 3]`, from `(width, height)` `from` to `to`. No size is zero.
pub(super) fn resize(rgb: &[u8], from: (usize, usize), to: (usize, usize), resample: Resample) -> Vec<u8> {
    if from == to {
        return rgb.to_vec();
    }
    if resample == Resample::Nearest {
        return nearest(rgb, from, to);
    }
    let across = |rgb: &[u8]| resize_rows(rgb, from.0, &windows(from.0, to.0, resample));
    let down = |rgb: &[u8], width: usize| resize_columns(rgb, width, &windows(from.1, to.1, resample));
    match (from.0 != to.0, from.1 != to.1) {
        (true, false) => across(rgb),
        (false, true) => down(rgb, from.0),
        _ if down_first(from, to) => across(&down(rgb, from.0)),
        _ => down(&across(rgb), to.0),
    }
}

/// Whether Pillow resizes columns before rows. Each pass rounds, so the order shows in the result. Pillow 13
/// reversed the order for pictures that lose more than twice as many rows as columns; up to Pillow 12, rows
/// always came first.
pub(super) fn down_first(from: (usize, usize), to: (usize, usize)) -> bool {
    let lost = |from: usize, to: usize| from as i128 - to as i128;
    let (columns, rows) = (lost(from.0, to.0), lost(from.1, to.1));
    rows > 0 && rows > 2 * columns
}

/// Resizes each row of `width` pixels to one pixel per window.
fn resize_rows(rgb: &[u8], width: usize, windows: &[Window]) -> Vec<u8> {
    let mut resized = vec![0; rgb.len() / width * windows.len()];
    let rows = rgb.chunks_exact(width * 3).zip(resized.chunks_exact_mut(windows.len() * 3));
    for (row, resized) in rows {
        let (pixels, _) = row.as_chunks::<3>();
        let (resized, _) = resized.as_chunks_mut::<3>();
        for (target, window) in resized.iter_mut().zip(windows) {
            let mut sums = [HALF; 3];
            for (pixel, &weight) in pixels[window.start..].iter().zip(&window.weights) {
                for (sum, &byte) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(byte) * weight;
                }
            }
            *target = sums.map(to_byte);
        }
    }
    resized
}

/// Resizes each column to one pixel per window.
fn resize_columns(rgb: &[u8], width: usize, windows: &[Window]) -> Vec<u8> {
    let row_bytes = width * 3;
    let mut resized = Vec::with_capacity(row_bytes * windows.len());
    let mut sums = vec![0; row_bytes];
    for window in windows {
        sums.fill(HALF);
        let rows = rgb[window.start * row_bytes..].chunks_exact(row_bytes);
        for (row, &weight) in rows.zip(&window.weights) {
            for (sum, &byte) in sums.iter_mut().zip(row) {
                *sum += i32::from(byte) * weight;
            }
        }
        resized.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    resized
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Takes, for each target pixel, the source pixel under its centre.
fn nearest(rgb: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let (columns, rows) = (nearest_positions(from.0, to.0), nearest_positions(from.1, to.1));
    let (pixels, _) = rgb.as_chunks::<3>();
    rows.iter().flat_map(|row| columns.iter().flat_map(move |column| pixels[row * from.0 + column])).collect()
}

/// The source position of each target pixel. Pillow adds up steps of the scale (`ImagingScaleAffine`); the
/// same is done here, so that the rounding errors are the same.
pub(super) fn nearest_positions(source: usize, target: usize) -> Vec<usize> {
    let step = source as f64 / target as f64;
    let walk = std::iter::successors(Some(step * 0.5), |position| Some(position + step));
    walk.take(target).map(|position| (position as usize).min(source - 1)).collect()
}
