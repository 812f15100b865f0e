//! Embeddings of tokens, patches and positions.

use crate::kernels::{gather_rows, patchify, token_embedding, vision_embedding};

/// `patches[image, patch row, patch column, (channel, y, x)] = pixels[image, channel, …]`; pixels beyond
/// whole patches are left out.
pub fn patchify(params: &patchify::Params, pixels: &[f32], patches: &mut [f32]) {
    let (height, width) = (params.height as usize, params.width as usize);
    let (channels, size) = (params.channels as usize, params.patch_size as usize);
    let mut place = 0;
    for image in 0..params.images as usize {
        for patch_row in 0..height / size {
            for patch_column in 0..width / size {
                for channel in 0..channels {
                    for y in 0..size {
                        let line = (image * channels + channel) * height + patch_row * size + y;
                        let start = line * width + patch_column * size;
                        patches[place..place + size].copy_from_slice(&pixels[start..start + size]);
                        place += size;
                    }
                }
            }
        }
    }
}

/// `output[token, :] = token_table[ids[token], :] + position_table[position_ids[token], :]`; an index beyond
/// its table means the table's last row.
pub fn token_embedding(
    params: &token_embedding::Params,
    ids: &[u32],
    position_ids: &[u32],
    token_table: &[f32],
    position_table: &[f32],
    output: &mut [f32],
) {
    let columns = params.columns as usize;
    for token in 0..params.tokens as usize {
        let id = ids[token].min(params.token_rows - 1) as usize;
        let position = position_ids[token].min(params.position_rows - 1) as usize;
        for column in 0..columns {
            output[token * columns + column] =
                token_table[id * columns + column] + position_table[position * columns + column];
        }
    }
}

/// `output[image, 0, :] = class_embedding + positions[0, :]` and
/// `output[image, 1 + patch, :] = patches[image, patch, :] + positions[1 + patch, :]`
pub fn vision_embedding(
    params: &vision_embedding::Params,
    patches: &[f32],
    class_embedding: &[f32],
    positions: &[f32],
    output: &mut [f32],
) {
    let (patch_count, columns) = (params.patches as usize, params.columns as usize);
    let tokens = patch_count + 1;
    for image in 0..params.images as usize {
        for token in 0..tokens {
            for column in 0..columns {
                let value = match token {
                    0 => class_embedding[column],
                    _ => patches[(image * patch_count + token - 1) * columns + column],
                };
                output[(image * tokens + token) * columns + column] =
                    value + positions[token * columns + column];
            }
        }
    }
}

/// `output[i, :] = input[rows[i], :]`; an index beyond the input means its last row.
pub fn gather_rows(params: &gather_rows::Params, input: &[f32], rows: &[u32], output: &mut [f32]) {
    let columns = params.columns as usize;
    for i in 0..params.count as usize {
        let row = rows[i].min(params.input_rows - 1) as usize;
        let row = &input[row * columns..][..columns];
        output[i * columns..][..columns].copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_read_channel_by_channel() {
        // Two channels of 3×5 pixels: one row of two patches; the last line and column are left out.
        let pixels: Vec<f32> = (0..30).map(|i| i as f32).collect();
        let params = patchify::Params { images: 1, channels: 2, height: 3, width: 5, patch_size: 2 };
        let mut patches = [0.0; 16];
        patchify(&params, &pixels, &mut patches);
        let expected = [0, 1, 5, 6, 15, 16, 20, 21, 2, 3, 7, 8, 17, 18, 22, 23];
        assert_eq!(patches, expected.map(|i| i as f32));
    }

    #[test]
    fn tokens_and_positions_are_looked_up_apart() {
        let tables = ([0.0, 1.0, 10.0, 11.0, 20.0, 21.0], [0.5, 0.25, 100.0, 200.0]);
        let mut output = [0.0; 6];
        let params = token_embedding::Params { tokens: 3, columns: 2, token_rows: 3, position_rows: 2 };
        // The last position is beyond its table.
        token_embedding(&params, &[2, 0, 1], &[0, 1, 9], &tables.0, &tables.1, &mut output);
        assert_eq!(output, [20.5, 21.25, 100.0, 201.0, 110.0, 211.0]);
    }

    #[test]
    fn every_image_starts_with_the_class_token() {
        let mut output = [0.0; 8];
        let params = vision_embedding::Params { images: 2, patches: 1, columns: 2 };
        vision_embedding(&params, &[1.0, 2.0, 3.0, 4.0], &[7.0, 8.0], &[0.1, 0.2, 10.0, 20.0], &mut output);
        assert_eq!(output, [7.1, 8.2, 11.0, 22.0, 7.1, 8.2, 13.0, 24.0]);
    }

    #[test]
    fn rows_may_be_gathered_twice_and_stay_within_the_input() {
        let mut output = [0.0; 6];
        gather_rows(
            &gather_rows::Params { count: 3, columns: 2, input_rows: 3 },
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            &[2, 0, 7],
            &mut output,
        );
        assert_eq!(output, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
    }
}
