/// A source of numbers that look random, the same for each seed: SplitMix64 (Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    /// Sixty-four bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// An integer below `bound`.
    ///
    /// # Panics
    /// Where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// Values from -1 up to 1.
    #[must_use]
    pub fn values(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// Values from -1 to 1 that f16 holds exactly, as weights of a checkpoint in f16 are: devices store these
    /// so.
    #[must_use]
    pub fn f16_values(&mut self, length: usize) -> Vec<f32> {
        self.values(length).iter().map(|value| (value * 1024.0).round() / 1024.0).collect()
    }

    /// Integers below `bound`.
    ///
    /// # Panics
    /// Where `bound` is 0 and `length` is not.
    #[must_use]
    pub fn indices(&mut self, length: usize, bound: usize) -> Vec<u32> {
        (0..length).map(|_| self.below(bound) as u32).collect()
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.bits() >> 56) as u8).collect()
    }
}
