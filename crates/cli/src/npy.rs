//! NumPy's file format.

use std::io::{Read, Result, Write};
use std::path::Path;

/// The bytes before the numbers, at the sizes that photos may have.
const HEADER: usize = 128;

/// Writes `[height, width]` numbers, row by row, as `numpy.load` reads them: NPY
/// [version 1.0](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), little-endian f32.
pub fn write(file: &mut impl Write, height: usize, width: usize, values: &[f32]) -> Result<()> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    // Magic, version and length take 10 bytes; the numbers start at a multiple of 64, after a line feed.
    let padded = (header.len() + 11).next_multiple_of(64) - 10;
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(padded as u16).to_le_bytes())?;
    file.write_all(format!("{header:<width$}\n", width = padded - 1).as_bytes())?;
    values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))
}

/// Whether a file begins as [`write`] begins it. NumPy begins a file of such numbers alike.
pub fn is_ours(path: &Path) -> bool {
    let mut header = [0; HEADER];
    let read = clipseg_files::open(path).and_then(|mut file| file.read_exact(&mut header));
    let shape = || {
        let (_, shape) = std::str::from_utf8(&header[10..]).ok()?.split_once("'shape': (")?;
        let (height, width) = shape.split_once(')')?.0.split_once(", ")?;
        Some((height.parse().ok()?, width.parse().ok()?))
    };
    let Some((height, width)) = read.ok().and_then(|()| shape()) else { return false };
    let mut ours = Vec::new();
    write(&mut ours, height, width, &[]).is_ok() && ours == header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_of_two_dimensions_and_f32() {
        let folder = tempfile::tempdir().unwrap();
        let is_ours_with = |from: &str, to: &str| {
            let path = folder.path().join("file.npy");
            let mut written = Vec::new();
            write(&mut written, 300, 451, &[0.5]).unwrap();
            let from = written.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
            written[from..from + to.len()].copy_from_slice(to.as_bytes());
            std::fs::write(&path, written).unwrap();
            is_ours(&path)
        };
        assert!(is_ours_with("<f4", "<f4") && is_ours_with("451", "452"));
        for (from, to) in
            [("<f4", "<i4"), ("False", "True,"), ("(300, 451)", "(300, 45,)"), ("(300, ", "(3, 3, ")]
        {
            assert!(!is_ours_with(from, to), "{to}");
        }
        std::fs::write(folder.path().join("file.npy"), "short").unwrap();
        assert!(!is_ours(&folder.path().join("file.npy")));
    }

    #[test]
    fn files_are_those_of_numpy() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/masks/probabilities.npy");
        let mut written = Vec::new();
        write(&mut written, 2, 3, &[0.0, 0.25, 1.0, 0.1, 1e-30, 0.5]).unwrap();
        assert_eq!(written, std::fs::read(path).unwrap());
    }
}
