//! Numbers to compute with, and how far results are from each other.

use crate::noise::noise;

/// The numbers of an op's operand, by its place.
pub fn operand(place: usize, length: usize) -> Vec<f32> {
    noise(length, 1 + 16 * place as u64)
}

/// The numbers of a weight.
pub fn weight(length: usize) -> Vec<f32> {
    noise(length, 2)
}

/// The numbers of a bias.
pub fn bias(length: usize) -> Vec<f32> {
    noise(length, 3)
}

/// How far the worst of the values is from what is expected, as a share of the largest expected; none where
/// the lengths differ, or one of two alone is not a number.
pub fn worst(actual: &[f32], expected: &[f32]) -> Option<f64> {
    let finite = expected.iter().filter(|value| value.is_finite());
    let largest = finite.fold(f64::from(f32::MIN_POSITIVE), |most, value| most.max(f64::from(value.abs())));
    if actual.len() != expected.len() {
        return None;
    }
    let mut worst = 0.0_f64;
    for (&actual, &expected) in actual.iter().zip(expected) {
        if actual == expected || (actual.is_nan() && expected.is_nan()) {
            continue;
        }
        let difference = (f64::from(actual) - f64::from(expected)).abs() / largest;
        if !difference.is_finite() {
            return None;
        }
        worst = worst.max(difference);
    }
    Some(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_and_missing_numbers_are_told_from_right_ones() {
        assert_eq!(worst(&[1.0, -2.0], &[1.0, -2.0]), Some(0.0));
        assert_eq!(worst(&[1.0, -1.0], &[1.0, -2.0]), Some(0.5));
        assert_eq!(worst(&[f32::NAN, -2.0], &[1.0, -2.0]), None);
        assert_eq!(worst(&[1.0, f32::INFINITY], &[1.0, -2.0]), None);
        assert_eq!(worst(&[1.0], &[1.0, -2.0]), None);
        assert_eq!(worst(&[0.0, f32::NAN], &[0.0, f32::NAN]), Some(0.0));
    }
}
