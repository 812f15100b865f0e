//! NumPy's file format.

use std::io::{Result, Write};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_those_of_numpy() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/masks/probabilities.npy");
        let mut written = Vec::new();
        write(&mut written, 2, 3, &[0.0, 0.25, 1.0, 0.1, 1e-30, 0.5]).unwrap();
        assert_eq!(written, std::fs::read(path).unwrap());
    }
}
