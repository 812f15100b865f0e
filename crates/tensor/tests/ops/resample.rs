use clipseg_shaders::kernels::{bicubic_positions, bilinear_resize};
use clipseg_shaders::twins;
use clipseg_tensor::Tile;
use proptest::prelude::*;

use super::support::{Random, assert_close, cases, devices, run};

/// Source coordinates of up to a few dozen carry their rounding into the weights.
const TOLERANCE: f32 = 1e-5;

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn bicubic_positions_equal_their_twin(
        (side, width) in (1..=22_usize, 1..=19_usize),
        (rows, columns) in (1..=40_usize, 1..=40_usize),
        seed in any::<u64>(),
    ) {
        let table = Random(seed).values((1 + side * side) * width);
        let params = bicubic_positions::Params {
            side: side as u32,
            rows: rows as u32,
            columns: columns as u32,
            width: width as u32,
        };
        let mut expected = vec![0.0; (1 + rows * columns) * width];
        twins::bicubic_positions(&params, &table, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                recorder.bicubic_positions(&device.upload(&[1 + side * side, width], &table)?, rows, columns)
            });
            assert_close(&actual, &expected, TOLERANCE);
        }
    }

    #[test]
    fn bilinear_resize_equals_its_twin(
        images in 1..=3_usize,
        (input_height, input_width) in (1..=40_usize, 1..=40_usize),
        (height, width) in (1..=70_usize, 1..=70_usize),
        (top, bottom, left, right) in (0..70_usize, 0..70_usize, 0..70_usize, 0..70_usize),
        seed in any::<u64>(),
    ) {
        // Any tile of the output, the whole of it now and then, made of what it needs alone.
        let part = |first: usize, cut: usize, length: usize| {
            let first = first % length;
            first..length - cut % (length - first)
        };
        let to = Tile { height, width, rows: part(top, bottom, height), columns: part(left, right, width) };
        let from = to.source(input_height, input_width);
        let input = Random(seed).values(images * from.pixels());
        let params = bilinear_resize::Params {
            images: images as u32,
            input_height: input_height as u32,
            input_width: input_width as u32,
            output_height: height as u32,
            output_width: width as u32,
            input_first_row: from.rows.start as u32,
            input_first_column: from.columns.start as u32,
            input_rows: from.rows.len() as u32,
            input_columns: from.columns.len() as u32,
            first_row: to.rows.start as u32,
            first_column: to.columns.start as u32,
            rows: to.rows.len() as u32,
            columns: to.columns.len() as u32,
        };
        let mut expected = vec![0.0; images * to.pixels()];
        twins::bilinear_resize(&params, &input, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                let shape = [images, from.rows.len(), from.columns.len()];
                recorder.bilinear_resize(&device.upload(&shape, &input)?, &from, &to)
            });
            assert_close(&actual, &expected, TOLERANCE);
        }
    }
}
