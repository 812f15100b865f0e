//! Internals that the fuzz targets use; not for anyone else.

use std::io::Cursor;

use crate::processor::decode;

/// The number of pixels that a picture file declares, if it declares one.
pub fn pixels(bytes: &[u8]) -> Option<u64> {
    let (width, height) = decode::dimensions(Cursor::new(bytes)).ok()?;
    width.checked_mul(height)
}
