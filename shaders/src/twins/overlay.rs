//! A mask laid over a photo.

use super::photo::encoded;
use crate::kernels::overlay_mask;

/// A photo, of four values in 0..=1 each, with a mask over it in a colour: a word a texel, `stride` a row.
pub fn overlay_mask(params: &overlay_mask::Params, photo: &[f32], probabilities: &[f32], output: &mut [u32]) {
    let (height, width) = (params.height as usize, params.width as usize);
    let colour = params.colour.to_le_bytes();
    for (y, words) in output.chunks_exact_mut(params.stride as usize).take(height).enumerate() {
        words.fill(0);
        for (x, word) in words.iter_mut().take(width).enumerate() {
            let share = share_of_colour(params, probabilities, x, y);
            let photo = interpolated(params, photo, x, y);
            let mut bytes = [0, 1, 2, 3].map(|channel: usize| {
                let value = match channel {
                    3 => photo[3],
                    _ => photo[channel] * (1.0 - share) + f32::from(colour[channel]) * share,
                };
                (value + 0.5) as u8
            });
            if params.is_bgra == 1 {
                bytes.swap(0, 2);
            }
            *word = u32::from_le_bytes(bytes);
        }
    }
}

/// How much of the colour a texel has.
fn share_of_colour(params: &overlay_mask::Params, probabilities: &[f32], x: usize, y: usize) -> f32 {
    let (height, width) = (params.height as usize, params.width as usize);
    let probability = |x: usize, y: usize| probabilities[y * width + x];
    if params.has_threshold == 0 {
        return params.opacity * probability(x, y);
    }
    let is_inside = |x: usize, y: usize| probability(x, y) >= params.threshold;
    let outline = params.outline as usize;
    let sides = [
        (x.saturating_sub(outline), y),
        (x.saturating_add(outline).min(width - 1), y),
        (x, y.saturating_sub(outline)),
        (x, y.saturating_add(outline).min(height - 1)),
    ];
    match is_inside(x, y) {
        false => 0.0,
        true if sides.into_iter().all(|(x, y)| is_inside(x, y)) => params.opacity,
        true => 1.0,
    }
}

/// The photo's bytes there, not rounded where they lie between texels.
fn interpolated(params: &overlay_mask::Params, photo: &[f32], x: usize, y: usize) -> [f32; 4] {
    let (width, height) = (params.photo_width as usize, params.photo_height as usize);
    let along = |place: usize, scale: f32, count: usize| {
        let source = ((place as f32 + 0.5) * scale - 0.5).max(0.0);
        let near = (source as usize).min(count - 1);
        (near, (near + 1).min(count - 1), (source - near as f32).clamp(0.0, 1.0))
    };
    let (left, right, across) = along(x, params.scale_across, width);
    let (top, bottom, down) = along(y, params.scale_down, height);
    [0, 1, 2, 3].map(|channel: usize| {
        let stored = |x: usize, y: usize| {
            let value = photo[4 * (y * width + x) + channel].clamp(0.0, 1.0);
            let value = if params.is_srgb == 1 && channel < 3 { encoded(value) } else { value };
            (value * 255.0 + 0.5).floor()
        };
        let mix = |a: f32, b: f32, t: f32| a * (1.0 - t) + b * t;
        let above = mix(stored(left, top), stored(right, top), across);
        mix(above, mix(stored(left, bottom), stored(right, bottom), across), down)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(height: u32, width: u32) -> overlay_mask::Params {
        overlay_mask::Params {
            height,
            width,
            stride: width + 1,
            photo_height: height,
            photo_width: width,
            scale_down: 1.0,
            scale_across: 1.0,
            is_srgb: 0,
            is_bgra: 0,
            has_threshold: 0,
            threshold: 0.5,
            opacity: 0.5,
            outline: 0,
            colour: u32::from_le_bytes([200, 0, 100, 0]),
        }
    }

    #[test]
    fn a_probability_tints_by_its_share() {
        let photo: Vec<_> = [[100, 50, 25, 255], [10, 20, 30, 7]].concat();
        let photo: Vec<_> = photo.into_iter().map(|byte: u8| f32::from(byte) / 255.0).collect();
        let mut words = [9; 3];
        overlay_mask(&params(1, 2), &photo, &[1.0, 0.5], &mut words);
        // Halves go up: 62.5 is 63.
        assert_eq!(words[0].to_le_bytes(), [150, 25, 63, 255]);
        assert_eq!(words[1].to_le_bytes(), [58, 15, 48, 7]);
        assert_eq!(words[2], 0, "what pads a row");
        overlay_mask(&overlay_mask::Params { is_bgra: 1, ..params(1, 2) }, &photo, &[1.0, 0.5], &mut words);
        assert_eq!(words[0].to_le_bytes(), [63, 25, 150, 255]);
    }

    #[test]
    fn the_edge_of_a_mask_is_drawn_within_it() {
        let photo = [0.0; 4 * 5];
        let params = overlay_mask::Params { has_threshold: 1, outline: 1, ..params(1, 5) };
        let mut words = [0; 6];
        overlay_mask(&params, &photo, &[0.1, 0.5, 0.6, 0.9, 0.7], &mut words);
        let red = words.map(|word| word & 255);
        // At the photo's own edge a mask goes on.
        assert_eq!(red, [0, 200, 100, 100, 100, 0]);
    }

    #[test]
    fn a_photo_of_another_size_is_interpolated() {
        let photo: Vec<_> = [[0, 0, 0, 255], [100, 100, 100, 255]].concat();
        let photo: Vec<_> = photo.into_iter().map(|byte: u8| f32::from(byte) / 255.0).collect();
        let params = overlay_mask::Params { photo_width: 2, scale_across: 0.5, ..params(1, 4) };
        let mut words = [0; 5];
        overlay_mask(&params, &photo, &[0.0; 4], &mut words);
        assert_eq!(words.map(|word| word & 255), [0, 25, 75, 100, 0]);
    }
}
