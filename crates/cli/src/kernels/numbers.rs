//! Numbers to compute with, and how far results are from each other.

/// `length` numbers from -1 up to 1 that look random: the upper bits of a linear congruential generator
/// (Knuth's MMIX), another sequence for each seed. All are multiples of 1/1024, which f16 holds exactly: who
/// stores them in 16 bits computes with the same numbers.
fn noise(length: usize, seed: u64) -> Vec<f32> {
    let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    let states = std::iter::successors(Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)), step).skip(2);
    states.map(|state| (state >> 53) as f32 / 1024.0 - 1.0).take(length).collect()
}

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
    fn noise_is_spread_and_exact_in_f16() {
        let values = noise(10_000, 1);
        let mean = values.iter().sum::<f32>() / 1e4;
        assert!(mean.abs() < 0.05 && values.iter().all(|value| value.abs() <= 1.0), "{mean}");
        assert!(values.iter().all(|value| (value * 1024.0).fract() == 0.0));
        assert!(values.iter().any(|value| *value > 0.99) && values.iter().any(|value| *value < -0.99));
        assert_ne!(values, noise(10_000, 2));
    }

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
