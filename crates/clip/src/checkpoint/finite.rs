//! Finds weights that are not finite.
//!
//! An exponent of all ones means an infinity or a NaN. With the sign bit cleared, adding one at the
//! exponent's lowest bit carries into the sign bit for exactly these values. That is three integer operations
//! per value, which the compiler vectorises, and one test for all values together.

/// Whether all values are finite.
pub(super) fn all_finite(values: &[f32]) -> bool {
    let carry = |value: &f32| (value.to_bits() & 0x7fff_ffff).wrapping_add(0x0080_0000);
    values.iter().fold(0, |seen, value| seen | carry(value)) >> 31 == 0
}

/// The first value that is not finite, its index in each dimension of `shape`, and how many such values there
/// are.
pub(super) fn first_not_finite(values: &[f32], shape: &[usize]) -> Option<(f32, Vec<usize>, usize)> {
    let mut offset = values.iter().position(|value| !value.is_finite())?;
    let value = values[offset];
    let mut position: Vec<_> = shape
        .iter()
        .rev()
        .map(|&size| {
            let index = offset % size;
            offset /= size;
            index
        })
        .collect();
    position.reverse();
    Some((value, position, values.iter().filter(|value| !value.is_finite()).count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_say_what_is_finite() {
        let mut values = vec![0.0_f32, -0.0, 1.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -1e-45];
        values.extend((0..1000).map(|n| n as f32 - 500.5));
        assert!(all_finite(&values) && all_finite(&[]));
        let quiet_and_signalling = [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xff80_0001].map(f32::from_bits);
        for wrong in [f32::INFINITY, f32::NEG_INFINITY].into_iter().chain(quiet_and_signalling) {
            for offset in [0, 1, 7, 512, values.len() - 1] {
                let mut values = values.clone();
                values[offset] = wrong;
                assert!(!all_finite(&values), "{wrong} at {offset}");
            }
        }
    }

    #[test]
    fn the_first_is_found_in_every_shape() {
        let mut values = vec![0.5; 24];
        assert_eq!(first_not_finite(&values, &[2, 3, 4]), None);
        (values[17], values[23]) = (f32::INFINITY, f32::NEG_INFINITY);
        assert_eq!(first_not_finite(&values, &[2, 3, 4]), Some((f32::INFINITY, vec![1, 1, 1], 2)));
        assert_eq!(first_not_finite(&[f32::INFINITY], &[]), Some((f32::INFINITY, vec![], 1)));
    }
}
