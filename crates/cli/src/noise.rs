//! Numbers to compute with where only the time counts, or only whether two agree.

/// `length` numbers from -1 up to 1 that look random: the upper bits of a linear congruential generator
/// (Knuth's MMIX), another sequence for each seed. All are multiples of 1/1024, which f16 holds exactly: who
/// stores them in 16 bits computes with the same numbers.
pub fn noise(length: usize, seed: u64) -> Vec<f32> {
    let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    let states = std::iter::successors(Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)), step).skip(2);
    states.map(|state| (state >> 53) as f32 / 1024.0 - 1.0).take(length).collect()
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
}
