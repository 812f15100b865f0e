//! Masks to test with.

use clipseg_masks::{Connectivity, Mask};
use proptest::prelude::*;

pub const CONNECTIVITIES: [Connectivity; 2] = [Connectivity::Four, Connectivity::Eight];

/// A mask drawn with `#` inside and `.` outside.
pub fn drawn(rows: &[impl AsRef<str>]) -> Mask {
    let width = rows.first().map_or(0, |row| row.as_ref().len());
    let pixels = rows.iter().flat_map(|row| row.as_ref().bytes().map(|byte| byte == b'#')).collect();
    Mask::new(width, rows.len(), pixels).unwrap()
}

/// Random masks from nearly empty to nearly full, including ones with sides of zero.
pub fn masks() -> impl Strategy<Value = Mask> {
    (0_usize..20, 0_usize..20, 0_u32..=100).prop_flat_map(|(width, height, percent)| {
        let pixel = (0_u32..100).prop_map(move |value| value < percent);
        let pixels = prop::collection::vec(pixel, width * height);
        pixels.prop_map(move |pixels| Mask::new(width, height, pixels).unwrap())
    })
}

/// The four or eight neighbours of a pixel that lie within the picture.
pub fn neighbours(mask: &Mask, place: usize, connectivity: Connectivity) -> Vec<usize> {
    let (x, y) = ((place % mask.width()) as i64, (place / mask.width()) as i64);
    let steps = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)));
    let reach = if connectivity == Connectivity::Four { 1 } else { 2 };
    steps
        .filter(|&(dx, dy): &(i64, i64)| (1..=reach).contains(&(dx.abs() + dy.abs())))
        .map(|(dx, dy)| (x + dx, y + dy))
        .filter(|&(x, y)| (0..mask.width() as i64).contains(&x) && (0..mask.height() as i64).contains(&y))
        .map(|(x, y)| y as usize * mask.width() + x as usize)
        .collect()
}
