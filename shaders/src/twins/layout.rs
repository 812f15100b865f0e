//! Between row-major buffers and textures of four columns per texel.

use crate::kernels::{buffer_from_texture, texture_from_buffer};

/// Rows of `columns` values as rows of whole texels, the last one padded with zeros.
pub fn texture_from_buffer(params: &texture_from_buffer::Params, input: &[f32], output: &mut [f32]) {
    let columns = params.columns as usize;
    let padded = columns.next_multiple_of(4);
    for row in 0..params.rows as usize {
        let (values, padding) = output[row * padded..][..padded].split_at_mut(columns);
        values.copy_from_slice(&input[row * columns..][..columns]);
        padding.fill(0.0);
    }
}

/// Rows of whole texels as rows of `columns` values; the padding is left behind.
pub fn buffer_from_texture(params: &buffer_from_texture::Params, input: &[f32], output: &mut [f32]) {
    let columns = params.columns as usize;
    let padded = columns.next_multiple_of(4);
    for row in 0..params.rows as usize {
        output[row * columns..][..columns].copy_from_slice(&input[row * padded..][..columns]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texels_are_padded_with_zeros_and_the_padding_is_left_behind() {
        let values: Vec<f32> = (1..11).map(|i| i as f32).collect();
        let mut texture = [f32::NAN; 16];
        texture_from_buffer(&texture_from_buffer::Params { rows: 2, columns: 5 }, &values, &mut texture);
        let expected = [1, 2, 3, 4, 5, 0, 0, 0, 6, 7, 8, 9, 10, 0, 0, 0];
        assert_eq!(texture, expected.map(|i| i as f32));

        let mut buffer = [0.0; 10];
        buffer_from_texture(&buffer_from_texture::Params { rows: 2, columns: 5 }, &texture, &mut buffer);
        assert_eq!(buffer, *values);
    }
}
