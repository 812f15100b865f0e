//! Photos of a renderer's, and masks for it.

use super::half;
use crate::kernels::{pack_mask, resize_bytes, resize_photo};

/// Along which axis a picture of `height` by `width` becomes `length` long, and by which of its pixels.
struct Axis<'a> {
    height: usize,
    width: usize,
    length: usize,
    taps: usize,
    is_vertical: bool,
    starts: &'a [u32],
    weights: &'a [i32],
}

impl Axis<'_> {
    /// The bytes of all output pixels in their order, from those of the picture's pixels.
    fn resize(&self, byte: impl Fn(usize, usize) -> [u8; 3]) -> Vec<[u8; 3]> {
        let (rows, columns) =
            if self.is_vertical { (self.length, self.width) } else { (self.height, self.length) };
        let last = if self.is_vertical { self.height } else { self.width } - 1;
        let mut pixels = Vec::with_capacity(rows * columns);
        for y in 0..rows {
            for x in 0..columns {
                let place = if self.is_vertical { y } else { x };
                let mut sums = [1 << 21; 3];
                for tap in 0..self.taps {
                    let source = (self.starts[place] as usize + tap).min(last);
                    let weight = self.weights[place * self.taps + tap];
                    let pixel = if self.is_vertical { byte(source, x) } else { byte(y, source) };
                    sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += i32::from(value) * weight);
                }
                pixels.push(sums.map(|sum: i32| (sum >> 22).clamp(0, 255) as u8));
            }
        }
        pixels
    }
}

/// `output[y, x]` is a pixel of the photo, of four values in 0..=1 each, resized along one axis.
pub fn resize_photo(
    params: &resize_photo::Params,
    photo: &[f32],
    starts: &[u32],
    weights: &[i32],
    output: &mut [u32],
) {
    let axis = Axis {
        height: params.height as usize,
        width: params.width as usize,
        length: params.length as usize,
        taps: params.taps as usize,
        is_vertical: params.is_vertical == 1,
        starts,
        weights,
    };
    let byte = |row: usize, column: usize| {
        let texel = &photo[4 * (row * axis.width + column)..];
        [0, 1, 2].map(|channel: usize| {
            let value = texel[channel].clamp(0.0, 1.0);
            let value = if params.is_srgb == 1 { encoded(value) } else { value };
            (value * 255.0 + 0.5) as u8
        })
    };
    for (word, [red, green, blue]) in output.iter_mut().zip(axis.resize(byte)) {
        *word = u32::from_le_bytes([red, green, blue, 0]);
    }
}

/// The sRGB value of a linear one.
pub(super) fn encoded(linear: f32) -> f32 {
    if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

/// `output[channel, y, x]` is what the table has for the byte of a picture's pixel, resized along one axis.
pub fn resize_bytes(
    params: &resize_bytes::Params,
    picture: &[u32],
    starts: &[u32],
    weights: &[i32],
    table: &[f32],
    output: &mut [f32],
) {
    let axis = Axis {
        height: params.height as usize,
        width: params.width as usize,
        length: params.length as usize,
        taps: params.taps as usize,
        is_vertical: params.is_vertical == 1,
        starts,
        weights,
    };
    let byte = |row: usize, column: usize| {
        let [red, green, blue, _] = picture[row * axis.width + column].to_le_bytes();
        [red, green, blue]
    };
    let pixels = axis.resize(byte);
    for channel in 0..3 {
        let plane = &mut output[channel * pixels.len()..][..pixels.len()];
        for (value, pixel) in plane.iter_mut().zip(&pixels) {
            *value = table[256 * channel + usize::from(pixel[channel])];
        }
    }
}

/// Probabilities in texels of 8, 16 or 32 bits, `stride` words a row.
pub fn pack_mask(params: &pack_mask::Params, probabilities: &[f32], output: &mut [u32]) {
    let (width, stride) = (params.width as usize, params.stride as usize);
    let texels = 32 / params.bits as usize;
    for row in 0..params.height as usize {
        let (values, words) = (&probabilities[row * width..][..width], &mut output[row * stride..][..stride]);
        words.fill(0);
        for (x, &value) in values.iter().enumerate() {
            let value = match params.has_threshold {
                1 => f32::from(u8::from(value >= params.threshold)),
                _ => value,
            };
            let bits = match params.bits {
                8 => (value * 255.0 + 0.5) as u32,
                16 => half_bits(value),
                _ => value.to_bits(),
            };
            words[x / texels] |= bits << (x % texels * params.bits as usize);
        }
    }
}

/// The bits of the half-precision float nearest to one of 0..=1.
fn half_bits(value: f32) -> u32 {
    let value = half(value);
    // Below 2⁻¹⁴ halves are multiples of 2⁻²⁴.
    if value < 2.0_f32.powi(-14) {
        (value * 2.0_f32.powi(24)) as u32
    } else {
        (value.to_bits() - (112 << 23)) >> 13
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pixels of one: the mean of red, green and blue, rounded, halves up.
    #[test]
    fn a_pixel_is_the_rounded_mean_of_two() {
        let photo = [[10, 20, 30, 255], [13, 21, 30, 0]].concat();
        let photo: Vec<_> = photo.iter().map(|&byte| byte as f32 / 255.0).collect();
        let params =
            resize_photo::Params { height: 1, width: 2, length: 1, taps: 2, is_vertical: 0, is_srgb: 0 };
        let mut word = [0];
        resize_photo(&params, &photo, &[0], &[1 << 21; 2], &mut word);
        assert_eq!(word[0].to_le_bytes(), [12, 21, 30, 0]);

        let params = resize_bytes::Params { height: 2, width: 1, length: 1, taps: 2, is_vertical: 1 };
        let picture = [[10, 20, 30, 0], [13, 21, 30, 0]].map(u32::from_le_bytes);
        let table: Vec<_> = (0..768).map(|place| place as f32).collect();
        let mut planes = [0.0; 3];
        resize_bytes(&params, &picture, &[0], &[1 << 21; 2], &table, &mut planes);
        assert_eq!(planes, [12.0, 256.0 + 21.0, 512.0 + 30.0]);
    }

    /// Every byte that was stored as sRGB is itself again.
    #[test]
    fn linear_values_become_the_bytes_that_they_came_from() {
        let decoded = |byte: u8| {
            let value = f64::from(byte) / 255.0;
            (if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }) as f32
        };
        for byte in 0..=255 {
            assert_eq!((encoded(decoded(byte)) * 255.0 + 0.5) as u8, byte);
        }
    }

    #[test]
    fn masks_are_packed_texel_by_texel() {
        let params = |bits, stride, has_threshold| pack_mask::Params {
            height: 1,
            width: 3,
            stride,
            bits,
            has_threshold,
            threshold: 0.5,
        };
        let values = [0.25, 0.5, 1.0];
        let mut words = [9; 2];
        pack_mask(&params(8, 2, 0), &values, &mut words);
        assert_eq!(words, [u32::from_le_bytes([64, 128, 255, 0]), 0]);
        pack_mask(&params(8, 2, 1), &values, &mut words);
        assert_eq!(words, [u32::from_le_bytes([0, 255, 255, 0]), 0]);
        pack_mask(&params(16, 2, 0), &values, &mut words);
        assert_eq!(words, [0x3800_3400, 0x3c00]);
        let mut words = [9; 4];
        pack_mask(&params(32, 4, 0), &values, &mut words);
        assert_eq!(words.map(f32::from_bits), [0.25, 0.5, 1.0, 0.0]);
    }
}
