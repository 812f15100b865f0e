//! A TIFF file with other tags, so that the decoder gives the values of all that Pillow reads.

use super::super::directory::Directory;
use super::super::{MAX_PIXELS, damaged};
use super::{HEIGHT, PHOTOMETRIC, TILE_HEIGHT, TILE_WIDTH, WIDTH};
use crate::error::Result;

const BLACK_IS_ZERO: u64 = 1;

/// The file as the decoder is to see it.
pub fn rewritten(bytes: &[u8], directory: &Directory) -> Result<Vec<u8>> {
    let mut file = bytes.to_vec();
    let mut overwrite = |range: std::ops::Range<usize>, value| {
        let value = directory.to_bytes(value, range.len());
        file[range].copy_from_slice(&value);
    };
    // The decoder knows no palettes, and inverts some pictures but not others. Only the values as stored are
    // needed here, and the decoder gives those for any picture that claims to be grey.
    let meaning = directory.first_range(PHOTOMETRIC);
    overwrite(meaning.ok_or_else(|| damaged("it does not say what its values mean"))?, BLACK_IS_ZERO);
    // It fails on tiles that reach beyond the picture, in planes and with LZW. So the picture is said to end
    // where its tiles do; its true size is known.
    let whole = |size: u16, tile: u16| {
        let range = directory.first_range(size)?;
        let pixels = directory.first(size)?.checked_next_multiple_of(directory.first(tile)?.max(1))?;
        (pixels >> (8 * range.len().min(7)) == 0).then_some((range, pixels))
    };
    if let (Some(columns), Some(rows)) = (whole(WIDTH, TILE_WIDTH), whole(HEIGHT, TILE_HEIGHT))
        && columns.1.saturating_mul(rows.1) <= MAX_PIXELS
    {
        overwrite(columns.0, columns.1);
        overwrite(rows.0, rows.1);
    }
    Ok(file)
}
