//! Resizing, as PyTorch's `interpolate` does it with `align_corners=False` and no antialiasing.

use crate::kernels::{bicubic_positions, bilinear_resize};

/// Position embeddings of a square grid, resized by bicubic interpolation: `positions[1 + rows·columns, width]` from
/// `table[1 + side·side, width]`; row 0, the class token's position, is kept.
pub fn bicubic_positions(params: &bicubic_positions::Params, table: &[f32], positions: &mut [f32]) {
    let (side, width) = (params.side as usize, params.width as usize);
    let (rows, columns) = (params.rows as usize, params.columns as usize);
    positions[..width].copy_from_slice(&table[..width]);
    for y in 0..rows {
        let down = bicubic_taps(y, rows, side);
        for x in 0..columns {
            let across = bicubic_taps(x, columns, side);
            for channel in 0..width {
                let mut sum = 0.0;
                for (source_y, weight_y) in down {
                    for (source_x, weight_x) in across {
                        let source = (1 + source_y * side + source_x) * width + channel;
                        sum += weight_y * weight_x * table[source];
                    }
                }
                positions[(1 + y * columns + x) * width + channel] = sum;
            }
        }
    }
}

/// The four neighbours of a place among `length` on an axis of `side` values, the edges repeated, and their weights.
fn bicubic_taps(place: usize, length: usize, side: usize) -> [(usize, f32); 4] {
    let source = (place as f32 + 0.5) * (side as f32 / length as f32) - 0.5;
    [-1.0, 0.0, 1.0, 2.0].map(|step| {
        let neighbour = source.floor() + step;
        // A conversion to usize takes what is below zero to zero.
        ((neighbour as usize).min(side - 1), cubic(source - neighbour))
    })
}

/// Keys's cubic convolution kernel, with a = -0.75.
fn cubic(distance: f32) -> f32 {
    const A: f32 = -0.75;
    let x = distance.abs();
    match x {
        _ if x <= 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        _ if x < 2.0 => ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A,
        _ => 0.0,
    }
}

/// `output[image, :, :] = input[image, :, :]` resized by bilinear interpolation; of it, the `rows` rows from `first_row` on.
pub fn bilinear_resize(params: &bilinear_resize::Params, input: &[f32], output: &mut [f32]) {
    let (input_height, input_width) = (params.input_height as usize, params.input_width as usize);
    let (output_height, output_width) = (params.output_height as usize, params.output_width as usize);
    let (first_row, rows) = (params.first_row as usize, params.rows as usize);
    for image in 0..params.images as usize {
        for (row, y) in (first_row..first_row + rows).enumerate() {
            for x in 0..output_width {
                let mut sum = 0.0;
                for (source_y, weight_y) in bilinear_taps(y, output_height, input_height) {
                    for (source_x, weight_x) in bilinear_taps(x, output_width, input_width) {
                        let source = (image * input_height + source_y) * input_width + source_x;
                        sum += weight_y * weight_x * input[source];
                    }
                }
                output[(image * rows + row) * output_width + x] = sum;
            }
        }
    }
}

/// The two neighbours of a place among `length` on an axis of `side` values, the edges repeated, and their weights.
fn bilinear_taps(place: usize, length: usize, side: usize) -> [(usize, f32); 2] {
    let source = ((place as f32 + 0.5) * (side as f32 / length as f32) - 0.5).max(0.0);
    let near = (source as usize).min(side - 1);
    let far = (near + 1).min(side - 1);
    let t = source - near as f32;
    [(near, 1.0 - t), (far, t)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twins::assert_near;

    const SQUARE: [f32; 9] = [1.0, -2.0, 3.0, 0.5, 4.0, -1.0, 2.0, 6.0, -3.0];

    fn resize_positions(rows: u32, columns: u32) -> Vec<f32> {
        let mut table = vec![9.0];
        table.extend(SQUARE);
        let mut positions = vec![f32::NAN; (rows * columns + 1) as usize];
        bicubic_positions(
            &bicubic_positions::Params { side: 3, rows, columns, width: 1 },
            &table,
            &mut positions,
        );
        positions
    }

    #[test]
    fn the_same_grid_is_kept() {
        let mut table = vec![9.0];
        table.extend(SQUARE);
        assert_near(&resize_positions(3, 3), &table, 0.0);
    }

    // torch.nn.functional.interpolate(mode="bicubic", align_corners=False).
    #[test]
    fn bicubic_positions_equal_pytorch() {
        let smaller = [
            9.0,
            0.944_874_76,
            -0.470_079_42,
            0.155_343_06,
            2.370_422_4,
            1.347_197_5,
            5.202_711,
            3.166_644,
            -3.293_682,
        ];
        assert_near(&resize_positions(2, 4), &smaller, 2e-6);
        let first_rows = [
            9.0,
            1.395_904_1,
            -0.787_231_6,
            -2.576,
            0.810_593_25,
            3.956_160_3,
            0.747_344,
            0.397_193_2,
            0.184_002_04,
            1.008_688_2,
            1.727_166_2,
        ];
        assert_near(&resize_positions(5, 5)[..11], &first_rows, 2e-6);
    }

    // torch.nn.functional.interpolate(mode="bilinear", align_corners=False).
    #[test]
    fn bilinear_resize_equals_pytorch() {
        let mut larger = [0.0; 15];
        let params = bilinear_resize::Params {
            images: 1,
            input_height: 2,
            input_width: 3,
            output_height: 3,
            output_width: 5,
            first_row: 0,
            rows: 3,
        };
        bilinear_resize(&params, &SQUARE[..6], &mut larger);
        let expected = [1.0, -0.2, -2.0, 1.0, 3.0, 0.75, 0.85, 1.0, 1.0, 1.0, 0.5, 1.9, 4.0, 1.0, -1.0];
        assert_near(&larger, &expected, 2e-6);

        let mut smaller = [0.0; 4];
        let params = bilinear_resize::Params {
            images: 1,
            input_height: 3,
            input_width: 3,
            output_height: 2,
            output_width: 2,
            first_row: 0,
            rows: 2,
        };
        bilinear_resize(&params, &SQUARE, &mut smaller);
        assert_near(&smaller, &[0.53125, 1.375, 2.59375, -0.5], 2e-6);
    }
}
