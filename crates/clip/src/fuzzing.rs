//! What the fuzz targets reach of the readers; nothing else is to use it.

use crate::processor::decode;

/// How many pixels a file says that its picture has; none where it does not say it.
pub fn pixels(bytes: &[u8]) -> Option<u64> {
    let (width, height) = decode::dimensions(bytes)?;
    width.checked_mul(height)
}
