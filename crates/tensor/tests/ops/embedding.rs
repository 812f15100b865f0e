use clipseg_shaders::kernels::{gather_rows, patchify, token_embedding, vision_embedding};
use clipseg_shaders::twins;
use proptest::prelude::*;

use super::support::{Random, assert_close, cases, devices, ragged, run};

/// Copies and single additions.
const EXACT: f32 = 0.0;

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn patchify_equals_its_twin(
        (images, channels, patch_size) in (1..=2_usize, 1..=3_usize, 1..=7_usize),
        (height, width) in (7..=33_usize, 7..=33_usize),
        seed in any::<u64>(),
    ) {
        let pixels = Random(seed).values(images * channels * height * width);
        let params = patchify::Params {
            images: images as u32,
            channels: channels as u32,
            height: height as u32,
            width: width as u32,
            patch_size: patch_size as u32,
        };
        let patches = (height / patch_size) * (width / patch_size);
        let mut expected = vec![0.0; images * patches * channels * patch_size * patch_size];
        twins::patchify(&params, &pixels, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                recorder.patchify(&device.upload(&[images, channels, height, width], &pixels)?, patch_size)
            });
            assert_close(&actual, &expected, EXACT);
        }
    }

    #[test]
    fn token_embedding_equals_its_twin(
        (batch, length, columns) in (1..=3_usize, ragged(), ragged()),
        (vocabulary, positions) in (1..=50_usize, 1..=77_usize),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        // Some lie beyond the tables.
        let ids = random.indices(batch * length, vocabulary + 2);
        let position_ids = random.indices(batch * length, positions + 2);
        let token_table = random.values(vocabulary * columns);
        let position_table = random.values(positions * columns);
        let params = token_embedding::Params {
            tokens: (batch * length) as u32,
            columns: columns as u32,
            token_rows: vocabulary as u32,
            position_rows: positions as u32,
        };
        let mut expected = vec![0.0; batch * length * columns];
        twins::token_embedding(&params, &ids, &position_ids, &token_table, &position_table, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                let ids = device.upload_u32(&[batch, length], &ids)?;
                let position_ids = device.upload_u32(&[batch, length], &position_ids)?;
                let token_table = device.upload(&[vocabulary, columns], &token_table)?;
                let position_table = device.upload(&[positions, columns], &position_table)?;
                recorder.token_embedding(&ids, &position_ids, &token_table, &position_table)
            });
            assert_close(&actual, &expected, EXACT);
        }
    }

    #[test]
    fn vision_embedding_equals_its_twin(
        (images, patches, columns) in (1..=3_usize, ragged(), ragged()),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let values = random.values(images * patches * columns);
        let class_embedding = random.values(columns);
        let positions = random.values((patches + 1) * columns);
        let params = vision_embedding::Params {
            images: images as u32,
            patches: patches as u32,
            columns: columns as u32,
        };
        let mut expected = vec![0.0; images * (patches + 1) * columns];
        twins::vision_embedding(&params, &values, &class_embedding, &positions, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                let values = device.upload(&[images, patches, columns], &values)?;
                let class_embedding = device.upload(&[columns], &class_embedding)?;
                let positions = device.upload(&[patches + 1, columns], &positions)?;
                recorder.vision_embedding(&values, &class_embedding, &positions)
            });
            assert_close(&actual, &expected, EXACT);
        }
    }

    #[test]
    fn gather_rows_equals_its_twin(
        (rows, columns, count) in (ragged(), ragged(), 1..=40_usize),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let input = random.values(rows * columns);
        // Some lie beyond the input.
        let mut places = random.indices(count, rows + 2);
        places[0] = u32::MAX;
        let params = gather_rows::Params { count: count as u32, columns: columns as u32, input_rows: rows as u32 };
        let mut expected = vec![0.0; count * columns];
        twins::gather_rows(&params, &input, &places, &mut expected);
        for device in devices() {
            // From a buffer, and from what an op has left: for subgroup kernels a texture.
            for has_been_computed in [false, true] {
                let actual = run(device, |recorder| {
                    let mut input = device.upload(&[1, rows, columns], &input)?;
                    if has_been_computed {
                        input = recorder.film(1, &input, None, None)?;
                    }
                    recorder.gather_rows(&input, &device.upload_u32(&[count], &places)?)
                });
                assert_close(&actual, &expected, EXACT);
            }
        }
    }
}

#[test]
fn the_class_token_is_dropped_from_every_image() {
    let values = Random(1).values(3 * 5 * 17);
    let expected: Vec<_> = values.chunks(5 * 17).flat_map(|image| &image[17..]).copied().collect();
    for device in devices() {
        let actual = run(device, |recorder| recorder.drop_class_token(&device.upload(&[3, 5, 17], &values)?));
        assert_close(&actual, &expected, EXACT);
    }
}
