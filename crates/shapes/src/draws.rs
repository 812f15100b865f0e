//! Random numbers as a function of a key and a count, in integer arithmetic, so that they are the same
//! everywhere.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Number `index` of the stream `key`.
pub(crate) fn number(key: u64, index: u64) -> u64 {
    mix(key.wrapping_add(index.wrapping_mul(GOLDEN)))
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    key: u64,
    count: u64,
}

impl Draws {
    /// The stream for one purpose; the path gives the data set, the scene, and what the numbers are for.
    pub fn new(path: &[u64]) -> Self {
        let key = path.iter().fold(0, |key, &part| number(key, part.wrapping_add(1)));
        Self { key, count: 0 }
    }

    pub fn bits(&mut self) -> u64 {
        self.count += 1;
        number(self.key, self.count)
    }

    pub fn below(&mut self, end: usize) -> usize {
        // The product of two numbers below 2³² does not overflow, and the result is below `end`.
        (((self.bits() >> 32) * end as u64) >> 32) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// An index, drawn with probability proportional to its weight.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut value = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            if value < weight {
                return index;
            }
            value -= weight;
        }
        unreachable!("the value is below the sum of the weights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_range() {
        let mut draws = Draws::new(&[u64::MAX, 3]);
        for _ in 0..1000 {
            assert!(draws.below(7) < 7);
            assert!((-3..=4).contains(&draws.between(-3, 4)));
            assert!([0, 2].contains(&draws.weighted(&[1, 0, 3])));
        }
    }
}
