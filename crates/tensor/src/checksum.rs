/// A checksum of 64-bit words, the same in every build: as [`checksum`], a word at a time, rotated after each
/// so that high bits reach low ones too. A change of a single word always changes the checksum.
#[derive(Clone, Copy, Debug)]
pub struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(START)
    }
}

impl Checksum {
    /// Adds words, in order.
    pub fn add(&mut self, words: impl IntoIterator<Item = u64>) {
        self.0 =
            words.into_iter().fold(self.0, |hash, word| (hash ^ word).wrapping_mul(PRIME).rotate_left(29));
    }

    /// The checksum of all that was added, as 16 hexadecimal digits.
    #[must_use]
    pub fn digits(self) -> String {
        format!("{:016x}", self.0)
    }
}

const START: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a: the same in every build, which the standard library's hashes do not promise. A change of a single
/// byte always changes the checksum.
pub fn checksum(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(START, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_word_shows() {
        let words: Vec<u64> = (0..100).map(|word| word * 0x9e37_79b9).collect();
        let digits = |words: &[u64]| {
            let mut checksum = Checksum::default();
            checksum.add(words.iter().copied());
            checksum.digits()
        };
        let all = digits(&words);
        assert_eq!(all.len(), 16);
        for index in 0..words.len() {
            for bit in [0, 31, 32, 63] {
                let mut changed = words.clone();
                changed[index] ^= 1 << bit;
                assert_ne!(digits(&changed), all, "{index} {bit}");
            }
        }
        assert_ne!(digits(&words[..99]), all);
        // Changes of the highest bits do not cancel each other out.
        let mut changed = words.clone();
        changed[3] ^= 1 << 63;
        changed[4] ^= 1 << 63;
        assert_ne!(digits(&changed), all);
        // Added in parts they are the same.
        let mut checksum = Checksum::default();
        words.chunks(7).for_each(|part| checksum.add(part.iter().copied()));
        assert_eq!(checksum.digits(), all);
    }
}
