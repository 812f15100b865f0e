/// Fails unless there are as many values as expected, each within `tolerance` times the largest magnitude
/// expected.
#[track_caller]
pub fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_close_at_scale(actual, expected, tolerance, 0.0);
}

/// As [`assert_close`], where the largest magnitude is taken as no less than `scale`, that of the inputs: a
/// few sums may all happen to cancel, but not their roundings.
#[track_caller]
pub fn assert_close_at_scale(actual: &[f32], expected: &[f32], tolerance: f32, scale: f32) {
    assert!(actual.is_empty() || !std::ptr::eq(actual, expected), "a slice was compared with itself");
    assert_eq!(actual.len(), expected.len(), "the lengths differ");
    assert!(expected.iter().all(|value| value.is_finite()), "what is expected is not finite");
    let largest = expected.iter().fold(scale, |largest, value| largest.max(value.abs()));
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let difference = (actual - expected).abs();
        // A NaN is not close to anything, so the comparison is not to be turned around.
        let close = difference <= tolerance * largest;
        assert!(
            close,
            "value {index} is {actual}, expected {expected}: off by {difference:e}, the largest is {largest}"
        );
    }
}

/// As [`assert_close_at_scale`] with a scale of 1, of values that went through f16: each may besides be one
/// step of f16 off, as WGSL leaves adapters the choice between both neighbours, or have become zero where
/// only a subnormal f16 would hold it.
#[track_caller]
pub fn assert_close_in_f16(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "the lengths differ");
    let nearest = |(&actual, &expected): (&f32, &f32)| {
        let step = (expected.abs() / 1024.0).max(1.0 / 16384.0);
        // What is left to explain once a step is forgiven. A NaN stays one.
        let rest = (actual - expected).abs() - step;
        if rest <= 0.0 { expected } else { expected + rest }
    };
    let without_rounding: Vec<_> = actual.iter().zip(expected).map(nearest).collect();
    assert_close_at_scale(&without_rounding, expected, tolerance, 1.0);
}

#[cfg(test)]
mod tests {
    use super::{assert_close, assert_close_at_scale, assert_close_in_f16};

    const EXPECTED: [f32; 3] = [1.0, -100.0, 0.0];

    #[test]
    fn close_values_pass() {
        assert_close(&[1.0009, -99.9991, -0.0009], &EXPECTED, 1e-5);
        assert_close(&[], &[], 1e-5);
    }

    #[test]
    fn values_a_step_of_f16_off_pass() {
        assert_close_in_f16(&[1.0009, -100.09, 0.00006], &EXPECTED, 1e-6);
        assert_close_in_f16(&[1.0019, -100.09, 0.001], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "value 0 is 1.000")]
    fn a_value_two_steps_of_f16_off_fails() {
        assert_close_in_f16(&[1.0019, -100.0, 0.0], &EXPECTED, 1e-6);
    }

    #[test]
    #[should_panic(expected = "value 1 is NaN")]
    fn a_nan_in_f16_fails() {
        assert_close_in_f16(&[1.0, f32::NAN, 0.0], &EXPECTED, 1e-5);
    }

    #[test]
    fn small_values_are_close_at_the_scale_of_the_inputs() {
        assert_close_at_scale(&[1e-6], &[2e-6], 1e-5, 1.0);
    }

    #[test]
    #[should_panic(expected = "value 0 is 0.000001")]
    fn a_small_value_is_held_against_the_largest_expected() {
        assert_close(&[1e-6], &[2e-6], 1e-5);
    }

    #[test]
    #[should_panic(expected = "value 2 is 0.0011")]
    fn a_value_too_far_off_fails() {
        assert_close(&[1.0, -100.0, 0.0011], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "value 0 is NaN")]
    fn a_nan_fails() {
        assert_close(&[f32::NAN, -100.0, 0.0], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "value 1 is -inf")]
    fn an_infinity_fails() {
        assert_close(&[1.0, f32::NEG_INFINITY, 0.0], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "not finite")]
    fn an_expected_nan_fails() {
        assert_close(&[1.0], &[f32::NAN], 1e-5);
    }

    #[test]
    #[should_panic(expected = "the lengths differ")]
    fn a_missing_value_fails() {
        assert_close(&[1.0, -100.0], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "compared with itself")]
    fn a_slice_against_itself_fails() {
        assert_close(&EXPECTED, &EXPECTED, 1e-5);
    }
}
