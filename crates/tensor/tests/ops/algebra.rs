//! Sums and products of tensors, and their parts in another order.

use clipseg_shaders::kernels::{batched_matmul, binary, concat, strided_copy};
use clipseg_shaders::twins::{self, BinaryOperation};
use clipseg_tensor::{Error, Recorder, Result, Tensor};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{Random, assert_close, cases, devices, ragged, run};

/// One rounding.
const EXACT: f32 = 1e-6;
/// Sums of up to 129 products in another order.
const SUMS: f32 = 1e-5;

type Op = fn(&mut Recorder, &Tensor, &Tensor) -> Result<Tensor>;

const BINARY: [Op; 4] = [Recorder::add, Recorder::sub, Recorder::mul, Recorder::div];

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn binary_equals_its_twin(
        (rows, columns) in (ragged(), ragged()),
        place in 0..4_usize,
        is_shared in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let input = random.values(rows * columns);
        // Away from zero, for quotients.
        let other = random.values(if is_shared { columns } else { rows * columns });
        let other: Vec<_> = other.iter().map(|value| value + 1.5_f32.copysign(*value)).collect();
        let mut expected = vec![0.0; input.len()];
        let params = binary::Params { length: input.len() as u32, other_length: other.len() as u32 };
        twins::binary(&params, BinaryOperation::ALL[place], &input, &other, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                let shape = if is_shared { vec![columns] } else { vec![1, rows, columns] };
                let (input, other) = (device.upload(&[1, rows, columns], &input)?, device.upload(&shape, &other)?);
                BINARY[place](recorder, &input, &other)
            });
            assert_close(&actual, &expected, EXACT);
        }
    }

    #[test]
    fn permute_equals_its_twin(
        shape in [1..5_usize, 1..7_usize, 1..9_usize, 1..18_usize],
        order in select(&[[0, 1, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2], [3, 2, 1, 0], [2, 0, 3, 1], [1, 0, 2, 3]]),
        seed in any::<u64>(),
    ) {
        let input = Random(seed).values(shape.iter().product());
        let strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1];
        let sizes = order.map(|dimension| shape[dimension]);
        let strides = order.map(|dimension| strides[dimension] as u32);
        let params = strided_copy::Params {
            length: input.len() as u32,
            start: 0,
            size_1: sizes[1] as u32,
            size_2: sizes[2] as u32,
            size_3: sizes[3] as u32,
            stride_0: strides[0],
            stride_1: strides[1],
            stride_2: strides[2],
            stride_3: strides[3],
        };
        let mut expected = vec![0.0; input.len()];
        twins::strided_copy(&params, &input, &mut expected);
        // Place by place, as the word says it.
        let at = |indices: [usize; 4]| {
            let mut source = [0; 4];
            order.iter().zip(indices).for_each(|(&dimension, index)| source[dimension] = index);
            input[((source[0] * shape[1] + source[1]) * shape[2] + source[2]) * shape[3] + source[3]]
        };
        for (place, value) in expected.iter().enumerate() {
            let indices = [
                place / (sizes[1] * sizes[2] * sizes[3]),
                place / (sizes[2] * sizes[3]) % sizes[1],
                place / sizes[3] % sizes[2],
                place % sizes[3],
            ];
            prop_assert_eq!(*value, at(indices));
        }
        for device in devices() {
            let actual = run(device, |recorder| recorder.permute(&device.upload(&shape, &input)?, &order));
            prop_assert_eq!(&actual, &expected);
        }
    }

    #[test]
    fn slice_is_a_part(
        shape in [1..4_usize, 1..9_usize, 1..18_usize],
        dimension in 0..3_usize,
        (from, to) in any::<(prop::sample::Index, prop::sample::Index)>(),
        seed in any::<u64>(),
    ) {
        let input = Random(seed).values(shape.iter().product());
        let (from, to) = (from.index(shape[dimension] + 1), to.index(shape[dimension] + 1));
        let (start, length) = (from.min(to), from.abs_diff(to));
        let mut expected = Vec::new();
        for (place, &value) in input.iter().enumerate() {
            let indices = [place / (shape[1] * shape[2]), place / shape[2] % shape[1], place % shape[2]];
            if (start..start + length).contains(&indices[dimension]) {
                expected.push(value);
            }
        }
        for device in devices() {
            let actual = run(device, |recorder| recorder.slice(&device.upload(&shape, &input)?, dimension, start, length));
            prop_assert_eq!(&actual, &expected);
        }
    }

    #[test]
    fn concat_equals_its_twin(
        (outer, left, right, inner) in (1..5_usize, ragged(), ragged(), 1..4_usize),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let (left_values, right_values) = (random.values(outer * left * inner), random.values(outer * right * inner));
        let params = concat::Params {
            length: (outer * (left + right) * inner) as u32,
            left_columns: (left * inner) as u32,
            right_columns: (right * inner) as u32,
        };
        let mut expected = vec![0.0; params.length as usize];
        twins::concat(&params, &left_values, &right_values, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                let left = device.upload(&[outer, left, inner], &left_values)?;
                recorder.concat(&left, &device.upload(&[outer, right, inner], &right_values)?, 1)
            });
            prop_assert_eq!(&actual, &expected);
        }
    }

    #[test]
    fn matmul_equals_its_twin(
        batch in 1..=3_usize,
        (rows, inner, columns) in (ragged(), ragged(), ragged()),
        (is_transposed, is_shared) in any::<(bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let left = random.values(batch * rows * inner);
        let right = random.values(if is_shared { inner * columns } else { batch * inner * columns });
        let params = batched_matmul::Params {
            rows: rows as u32,
            inner: inner as u32,
            columns: columns as u32,
            right_transposed: is_transposed.into(),
            right_shared: is_shared.into(),
        };
        let mut expected = vec![0.0; batch * rows * columns];
        twins::batched_matmul(&params, &left, &right, &mut expected);
        for device in devices() {
            let actual = run(device, |recorder| {
                let matrix = if is_transposed { vec![columns, inner] } else { vec![inner, columns] };
                let shape = if is_shared { matrix } else { [vec![batch], matrix].concat() };
                let (left, right) = (device.upload(&[batch, rows, inner], &left)?, device.upload(&shape, &right)?);
                if is_transposed { recorder.matmul_transposed(&left, &right) } else { recorder.matmul(&left, &right) }
            });
            assert_close(&actual, &expected, SUMS);
        }
    }
}

/// Attention put together of these ops is attention.
#[test]
fn attention_can_be_put_together() {
    let (batch, tokens, heads, size) = (2, 7, 3, 8);
    let width = heads * size;
    let values = Random(5).values(batch * tokens * 3 * width);
    for device in devices() {
        let expected = run(device, |recorder| {
            let fused = device.upload(&[batch, tokens, 3 * width], &values)?;
            recorder.attention(&fused, heads, &Default::default())
        });
        let actual = run(device, |recorder| {
            let fused = device.upload(&[batch, tokens, 3 * width], &values)?;
            let mut parts = Vec::new();
            for part in 0..3 {
                let part = recorder.slice(&fused, 2, part * width, width)?;
                // [batch, tokens, heads · size] to [batch, heads, tokens, size].
                let split = recorder.reshape(&part, &[batch, tokens, heads, size])?;
                parts.push(recorder.permute(&split, &[0, 2, 1, 3])?);
            }
            let scores = recorder.matmul_transposed(&parts[0], &parts[1])?;
            let scale = device.upload(&[1], &[(size as f32).sqrt()])?;
            let scores = recorder.div(&scores, &scale)?;
            let probabilities = recorder.softmax(&scores)?;
            let context = recorder.matmul(&probabilities, &parts[2])?;
            recorder.permute(&context, &[0, 2, 1, 3])
        });
        assert_close(&actual, &expected, 1e-5);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    for device in devices() {
        let mut recorder = Recorder::new(device);
        let tensor = |shape: &[usize]| device.upload(shape, &vec![1.0; shape.iter().product()]).unwrap();
        let (square, wide, ids) =
            (tensor(&[3, 3]), tensor(&[2, 4]), device.upload_u32(&[3, 3], &[1; 9]).unwrap());
        let refused = |result: Result<Tensor>, op: &str| {
            let error = result.err().unwrap();
            assert!(matches!(error, Error::Shape { .. }) && error.to_string().starts_with(op), "{error}");
        };
        refused(recorder.add(&square, &wide), "add");
        refused(recorder.mul(&square, &tensor(&[3, 1])), "mul");
        refused(recorder.div(&square, &ids), "div");
        refused(recorder.sub(&tensor(&[3]), &square), "sub");
        refused(recorder.permute(&square, &[0, 0]), "permute");
        refused(recorder.permute(&square, &[0]), "permute");
        refused(recorder.permute(&tensor(&[1, 1, 1, 1, 1]), &[0, 1, 2, 3, 4]), "permute");
        refused(recorder.transpose(&tensor(&[3])), "transpose");
        refused(recorder.slice(&square, 2, 0, 1), "slice");
        refused(recorder.slice(&square, 1, 2, 2), "slice");
        refused(recorder.slice(&square, 1, usize::MAX, 2), "slice");
        refused(recorder.concat(&square, &wide, 0), "concat");
        refused(recorder.concat(&square, &wide, 5), "concat");
        refused(recorder.matmul(&square, &wide), "matmul");
        refused(recorder.matmul(&tensor(&[3]), &square), "matmul");
        refused(recorder.matmul(&tensor(&[2, 3, 3]), &tensor(&[3, 3, 3])), "matmul");
        refused(recorder.matmul_transposed(&square, &wide), "matmul_transposed");
    }
}
