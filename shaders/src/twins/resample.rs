//! Resizing, as PyTorch's `interpolate` does it with `align_corners=False` and no antialiasing.

use crate::kernels::{bicubic_positions, bilinear_resize};

/// Position embeddings of a square grid, resized by bicubic interpolation:
/// `positions[1 + rows·columns, width]` from `table[1 + side·side, width]`; row 0, the class token's
/// position, is kept.
pub fn bicubic_positions(params: &bicubic_positions::Params, table: &[f32], positions: &mut [f32]) {
    let (side, width) = (params.side as usize, params.width as usize);
    let (rows, columns) = (params.rows as usize, params.columns as usize);
    positions[..width].copy_from_slice(&table[..width]);
    for y in 0..rows {
        let down = bicubic_taps(y, rows, side);
        for x in 0..columns {
            let across = bicubic_taps(x, columns, side);
            let sums = &mut positions[(1 + y * columns + x) * width..][..width];
            sums.fill(0.0);
            for (source_y, weight_y) in down {
                for (source_x, weight_x) in across {
                    let source = &table[(1 + source_y * side + source_x) * width..][..width];
                    let weight = weight_y * weight_x;
                    sums.iter_mut().zip(source).for_each(|(sum, value)| *sum += weight * value);
                }
            }
        }
    }
}

/// The four neighbours of a place among `length` on an axis of `side` values, the edges repeated, and their
/// weights.
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

/// `output[image, :, :] = input[image, :, :]` resized by bilinear interpolation, both of them tiles of whole
/// maps.
pub fn bilinear_resize(params: &bilinear_resize::Params, input: &[f32], output: &mut [f32]) {
    let size = |value: u32| value as usize;
    let (rows, columns) = (size(params.rows), size(params.columns));
    let (input_rows, input_columns) = (size(params.input_rows), size(params.input_columns));
    let taps_y = |row| bilinear_taps(size(params.first_row) + row, params.output_height, params.input_height);
    let taps_x: Vec<_> = (0..columns)
        .map(|column| {
            bilinear_taps(size(params.first_column) + column, params.output_width, params.input_width)
        })
        .collect();
    for image in 0..size(params.images) {
        for row in 0..rows {
            let down = taps_y(row);
            for (column, &across) in taps_x.iter().enumerate() {
                let mut sum = 0.0;
                for (source_y, weight_y) in down {
                    for (source_x, weight_x) in across {
                        let source_row = image * input_rows + source_y - size(params.input_first_row);
                        let source_column = source_x - size(params.input_first_column);
                        sum += weight_y * weight_x * input[source_row * input_columns + source_column];
                    }
                }
                output[(image * rows + row) * columns + column] = sum;
            }
        }
    }
}

/// The two neighbours of a place among `length` on an axis of `side` values, the edges repeated, and their
/// weights.
fn bilinear_taps(place: usize, length: u32, side: u32) -> [(usize, f32); 2] {
    let source = ((place as f32 + 0.5) * (side as f32 / length as f32) - 0.5).max(0.0);
    let last = side as usize - 1;
    let near = (source as usize).min(last);
    let t = source - near as f32;
    [(near, 1.0 - t), ((near + 1).min(last), t)]
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
        let whole = |input: (u32, u32), output: (u32, u32)| bilinear_resize::Params {
            images: 1,
            input_height: input.0,
            input_width: input.1,
            output_height: output.0,
            output_width: output.1,
            input_first_row: 0,
            input_first_column: 0,
            input_rows: input.0,
            input_columns: input.1,
            first_row: 0,
            first_column: 0,
            rows: output.0,
            columns: output.1,
        };
        let mut larger = [0.0; 15];
        bilinear_resize(&whole((2, 3), (3, 5)), &SQUARE[..6], &mut larger);
        let expected = [1.0, -0.2, -2.0, 1.0, 3.0, 0.75, 0.85, 1.0, 1.0, 1.0, 0.5, 1.9, 4.0, 1.0, -1.0];
        assert_near(&larger, &expected, 2e-6);

        let mut smaller = [0.0; 4];
        bilinear_resize(&whole((3, 3), (2, 2)), &SQUARE, &mut smaller);
        assert_near(&smaller, &[0.53125, 1.375, 2.59375, -0.5], 2e-6);

        // The last two columns of the second row, of the last two columns.
        let mut corner = [0.0; 2];
        let params = bilinear_resize::Params {
            input_first_column: 1,
            input_columns: 2,
            first_row: 1,
            first_column: 3,
            rows: 1,
            columns: 2,
            ..whole((2, 3), (3, 5))
        };
        bilinear_resize(&params, &[-2.0, 3.0, 4.0, -1.0], &mut corner);
        assert_near(&corner, &expected[8..10], 2e-6);
    }
}
