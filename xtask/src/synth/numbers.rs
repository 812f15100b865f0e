//! Numbers that are a function of (seed, tensor name, index) and of nothing else.
//!
//! Integers up to the last step, then at most five f32 operations in a fixed order: `tools/fixtures/synth.py`
//! makes the same bits, whatever the machine and however many threads.

use std::num::NonZero;
use std::thread;

/// The increment of splitmix64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// The mean of a sum of four uniform 16-bit numbers.
const DRAW_MEAN: i64 = 2 * 65535;
/// Channels that are large in the residual stream, as a trained CLIP has a few.
const LARGE_CHANNELS: [usize; 3] = [133, 371, 690];

/// How the numbers of one tensor are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub mean: f64,
    pub deviation: f64,
    /// This many consecutive elements share a second draw, of `shared_deviation`: convolution kernels that
    /// are smooth.
    pub shared_run: usize,
    pub shared_deviation: f64,
    /// What the elements of the large channels are multiplied by; 1 leaves them as they are.
    pub large_factor: f64,
    /// Element `i` belongs to channel `(i / channel_stride) % channels`.
    pub channel_stride: usize,
    pub channels: usize,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            mean: 0.0,
            deviation: 0.0,
            shared_run: 1,
            shared_deviation: 0.0,
            large_factor: 1.0,
            channel_stride: 1,
            channels: 1,
        }
    }
}

impl Recipe {
    /// The tensor `name` as a checkpoint stores it, little-endian f32, made on every core.
    pub fn bytes(&self, seed: u64, name: &str, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len * size_of::<f32>()];
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let part = len.div_ceil(threads).max(1);
        let draws = Draws {
            recipe: *self,
            own: Stream::new(seed, name, self.deviation),
            shared: Stream::new(seed, &format!("{name}/shared"), self.shared_deviation),
        };
        thread::scope(|scope| {
            for (index, chunk) in bytes.chunks_mut(part * size_of::<f32>()).enumerate() {
                let draws = &draws;
                scope.spawn(move || draws.fill(index * part, chunk));
            }
        });
        bytes
    }
}

/// A recipe with the streams of one tensor.
struct Draws {
    recipe: Recipe,
    own: Stream,
    shared: Stream,
}

impl Draws {
    fn fill(&self, start: usize, chunk: &mut [u8]) {
        for (index, bytes) in (start..).zip(chunk.chunks_exact_mut(size_of::<f32>())) {
            bytes.copy_from_slice(&self.number(index).to_le_bytes());
        }
    }

    fn number(&self, index: usize) -> f32 {
        let recipe = &self.recipe;
        let mut number = recipe.mean as f32 + self.own.draw(index);
        if recipe.shared_deviation != 0.0 {
            number += self.shared.draw(index / recipe.shared_run);
        }
        let channel = (index / recipe.channel_stride) % recipe.channels;
        if recipe.large_factor != 1.0 && LARGE_CHANNELS.contains(&channel) {
            number *= recipe.large_factor as f32;
        }
        number
    }
}

/// A sequence of about normal numbers that can be read at any index.
struct Stream {
    key: u64,
    scale: f32,
}

impl Stream {
    fn new(seed: u64, name: &str, deviation: f64) -> Self {
        // FNV-1a: the names are short, and Python has it in three lines.
        let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        // The deviation of a sum of four uniform 16-bit numbers.
        let draw_deviation = ((65536.0 * 65536.0 - 1.0) / 3.0_f64).sqrt();
        Self {
            key: mix(hash.wrapping_add(seed.wrapping_mul(GOLDEN))),
            scale: (deviation / draw_deviation) as f32,
        }
    }

    /// The sum of four uniform 16-bit numbers less its mean is an integer that f32 holds exactly; one product
    /// scales it.
    fn draw(&self, index: usize) -> f32 {
        let mixed = mix(self.key.wrapping_add((index as u64 + 1).wrapping_mul(GOLDEN)));
        let sum = (mixed & 0xFFFF) + (mixed >> 16 & 0xFFFF) + (mixed >> 32 & 0xFFFF) + (mixed >> 48);
        (sum as i64 - DRAW_MEAN) as f32 * self.scale
    }
}

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// The bit patterns of a checkpoint's little-endian f32.
pub fn bits_of(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|number| u32::from_le_bytes([number[0], number[1], number[2], number[3]]))
        .collect()
}

/// Order-sensitive and quick: the sum of bit pattern × (2·index + 1), modulo 2⁶⁴.
pub fn checksum(bits: &[u32]) -> u64 {
    bits.iter()
        .zip((1_u64..).step_by(2))
        .fold(0, |sum, (&bits, weight)| sum.wrapping_add(u64::from(bits).wrapping_mul(weight)))
}
