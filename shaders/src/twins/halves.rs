//! What storing in f16 makes of a value.

/// The largest half-precision float.
const LARGEST: f32 = 65504.0;

/// `value` as it comes back from where a kernel with `OUTPUT_F16` stored it, and so what one with `INPUT_F16`
/// reads: the nearest half-precision float, of two equally near ones the even. What is beyond the largest
/// becomes that, not an infinity.
///
/// WGSL leaves adapters the choice between both neighbours of a value, and zero for what is below 2⁻¹⁴.
#[must_use]
pub fn half(value: f32) -> f32 {
    let value = value.clamp(-LARGEST, LARGEST);
    // Ten binary digits after the first; below 2⁻¹⁴ they are as far apart as at it.
    let exponent = (value.to_bits() >> 23 & 0xff) as i32 - 127;
    let step = 2.0_f32.powi(exponent.max(-14) - 10);
    (value / step).round_ties_even() * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_to_the_nearest_half() {
        let step = 2.0_f32.powi(-10);
        for (value, expected) in [
            (0.0, 0.0),
            (-1.0, -1.0),
            (1.0 + 0.49 * step, 1.0),
            (1.0 + 0.51 * step, 1.0 + step),
            // Halfway, to the even one.
            (1.0 + 0.5 * step, 1.0),
            (-1.0 - 1.5 * step, -1.0 - 2.0 * step),
            (1.999_9, 2.0),
            // python3 -c "import numpy; print(numpy.float16([0.1, 1e-5, 4e-8, 2e-8]).astype(numpy.float32))"
            (0.1, 0.099_975_586),
            (1e-5, 1.001_358e-5),
            (4e-8, 5.960_464_5e-8),
            (2e-8, 0.0),
        ] {
            assert_eq!(half(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_beyond_the_largest_becomes_that() {
        assert_eq!([65519.0, 1e9, f32::NEG_INFINITY].map(half), [LARGEST, LARGEST, -LARGEST]);
    }
}
