//! Activations in f16: what reads and writes them against the CPU twin, and that nothing else takes their
//! bits for floats.

use std::sync::OnceLock;

use clipseg_shaders::kernels::{attention, layer_norm, matmul_tile};
use clipseg_shaders::twins;
use clipseg_tensor::transformer::{Block, BlockSizes};
use clipseg_tensor::{
    Activation, AttentionMask, DType, Device, DeviceOptions, Error, KernelFamily, LayerNorm, Linear,
    Precision, Recorder, Result, Tensor, Weights,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{Random, assert_close, assert_close_as, cases, devices, has_subgroups, ragged, run};

/// As without f16: sums in another order.
const TOLERANCE: f32 = 2e-6;

const ELEMENTS: [DType; 2] = [DType::F32, DType::F16];
/// Of an op's input and of its output.
const COMBINATIONS: [[DType; 2]; 4] =
    [[DType::F32, DType::F32], [DType::F32, DType::F16], [DType::F16, DType::F32], [DType::F16, DType::F16]];

/// The workgroup kernels, for one precision each.
fn workgroup(precision: Precision) -> Device {
    let options = DeviceOptions {
        kernels: KernelFamily::Workgroup,
        runtime_checks: true,
        precision,
        ..DeviceOptions::default()
    };
    Device::open(&options).expect("these tests need an adapter")
}

/// The processor keeps what it computes in full.
fn kernel_devices() -> impl Iterator<Item = &'static Device> {
    devices().iter().filter(|device| !device.is_processor())
}

/// The workgroup kernels with weights in f16.
fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| workgroup(Precision::F16))
}

/// `values` on the device as `dtype`, and what they are then.
fn upload(device: &Device, dtype: DType, shape: &[usize], values: &[f32]) -> (Tensor, Vec<f32>) {
    match dtype {
        DType::F16 => {
            let tensor = device.upload_f16(shape, values).expect("a tensor in f16");
            (tensor, values.iter().map(|&value| twins::half(value)).collect())
        }
        _ => (device.upload(shape, values).expect("a tensor"), values.to_vec()),
    }
}

/// Checks every kernel that takes the product with these elements, and says which these were.
fn check_product(
    [rows, columns, inner]: [usize; 3],
    elements: [DType; 2],
    bias: bool,
    residual: bool,
    seed: u64,
) -> Vec<&'static str> {
    let mut random = Random(seed);
    let (values, weight) = (random.values(rows * inner), random.f16_values(columns * inner));
    let bias = bias.then(|| random.values(columns));
    let residual = residual.then(|| random.values(rows * columns));
    let [from, to] = elements;
    let (input, values) = upload(device(), from, &[rows, inner], &values);

    let params = matmul_tile::Params {
        rows: rows as u32,
        columns: columns as u32,
        inner: inner as u32,
        has_bias: bias.is_some().into(),
        has_residual: residual.is_some().into(),
    };
    let mut expected = vec![0.0; rows * columns];
    let activation = Activation::QuickGelu;
    let [bias_values, residual_values] =
        [&bias, &residual].map(|values| values.as_deref().unwrap_or_default());
    twins::matmul(&params, activation, &values, &weight, bias_values, residual_values, &mut expected);

    let layer = Linear::new(device(), columns, inner, &weight, bias.as_deref()).expect("a layer");
    let residual = residual.map(|values| device().upload(&[rows, columns], &values).expect("the residual"));
    let kernels = Recorder::new(device()).linear_kernels(to, &input, &layer);
    for kernel in &kernels {
        let actual = run(device(), |recorder| {
            recorder.linear_by(kernel, to, &input, &layer, activation, residual.as_ref())
        });
        assert_close_as(to, &actual, &expected, TOLERANCE);
    }
    kernels
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn products_of_halves_equal_the_twin(
        rows in select(&[1_usize, 2, 5, 17, 63, 65, 130][..]),
        columns in select(&[4_usize, 12, 60, 68, 132][..]),
        inner in select(&[4_usize, 8, 20, 36, 68, 260][..]),
        (bias, residual) in any::<(bool, bool)>(),
        seed in any::<u64>(),
    ) {
        for elements in COMBINATIONS {
            let checked = check_product([rows, columns, inner], elements, bias, residual, seed);
            prop_assert!(checked.contains(&"matmul_tile_packed_f16"), "{checked:?}");
            prop_assert_eq!(checked.contains(&"matmul_skinny_packed_f16"), rows <= 16, "{:?}", checked);
        }
    }

    #[test]
    fn layer_norms_to_halves_equal_the_twin(
        rows in ragged(),
        columns in select(&[4_usize, 12, 64, 68, 260, 768, 1024][..]),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let mut input = random.values(rows * columns);
        // Rows that range over ±1: one of nearly equal values would be nothing but roundings.
        input.chunks_exact_mut(columns).for_each(|row| (row[0], row[columns - 1]) = (1.0, -1.0));
        let (weight, bias) = (random.values(columns), random.values(columns));
        let params = layer_norm::Params { rows: rows as u32, columns: columns as u32, epsilon: 1e-5 };
        let mut expected = vec![0.0; input.len()];
        twins::layer_norm(&params, &input, &weight, &bias, &mut expected);
        for device in kernel_devices() {
            let layer = LayerNorm::new(device, &weight, &bias, 1e-5).expect("a layer");
            for to in ELEMENTS {
                let input = device.upload(&[rows, columns], &input).expect("the input");
                let kernels = Recorder::new(device).layer_norm_kernels(to, &input, &layer);
                for kernel in kernels.expect("the shapes fit") {
                    let actual =
                        run(device, |recorder| recorder.layer_norm_by(kernel, to, &input, &layer));
                    assert_close_as(to, &actual, &expected, TOLERANCE);
                }
            }
        }
    }

    #[test]
    fn attention_over_halves_equals_the_twin(
        (batch, tokens, heads) in (1..=2_usize, ragged(), 1..=2_usize),
        head_size in select(&[4_usize, 8, 16, 24, 32, 60, 64][..]),
        (causal, masked) in any::<(bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let width = heads * head_size;
        let values: Vec<_> = random.values(batch * tokens * 3 * width).iter().map(|value| 3.0 * value).collect();
        let keys = if masked { random.indices(batch * tokens, 2) } else { Vec::new() };
        let params = attention::Params {
            tokens: tokens as u32,
            heads: heads as u32,
            head_size: head_size as u32,
            causal: causal.into(),
            has_mask: masked.into(),
            has_cu_seqlens: 0,
            scale: 1.0 / (head_size as f32).sqrt(),
        };
        for device in kernel_devices() {
            let key_mask = masked.then(|| device.upload_u32(&[batch, tokens], &keys).expect("a mask"));
            let mask = AttentionMask { causal, key_padding_mask: key_mask.as_ref(), packing: None };
            // From f32 to f32 is what the tests of attention try.
            for [from, to] in COMBINATIONS.into_iter().filter(|combination| *combination != [DType::F32; 2]) {
                let (query_key_value, values) = upload(device, from, &[batch, tokens, 3 * width], &values);
                let mut expected = vec![0.0; batch * tokens * width];
                twins::attention(&params, &values, &keys, &[], &mut expected);
                let recorder = Recorder::new(device);
                let kernels = recorder.attention_kernels(to, &query_key_value, heads, &mask);
                for kernel in kernels.expect("the shapes fit") {
                    let actual = run(device, |recorder| {
                        recorder.attention_by(kernel, to, &query_key_value, heads, &mask)
                    });
                    // As in the tests of attention without f16.
                    assert_close_as(to, &actual, &expected, 1e-5);
                }
            }
        }
    }
}

#[test]
fn all_kernels_take_every_combination() {
    for elements in COMBINATIONS {
        let checked = check_product([197, 132, 772], elements, true, true, 1);
        let with_subgroups = ["matmul_tile_packed_f16", "matmul_tile_lanes_packed_f16"];
        let others = if has_subgroups(device()) { 1 } else { 0 };
        assert_eq!(checked, with_subgroups[..=others]);
    }
}

#[test]
fn what_is_beyond_the_largest_half_becomes_that() {
    let values = [65_519.0, 1e9, -7e4, f32::NEG_INFINITY];
    let expected = [65_504.0, 65_504.0, -65_504.0, -65_504.0];
    assert_eq!(values.map(twins::half), expected);
    let uploaded = device().upload_f16(&[4], &values).unwrap();
    assert_eq!(run(device(), |_| Ok(uploaded.clone())), expected);
    // The same by a kernel: the residual of a product with nothing.
    let layer = Linear::new(device(), 4, 4, &[0.0; 16], None).unwrap();
    let input = device().upload(&[1, 4], &[0.0; 4]).unwrap();
    let residual = device().upload(&[1, 4], &values).unwrap();
    let actual = run(device(), |recorder| {
        recorder.linear_as(DType::F16, &input, &layer, Activation::None, Some(&residual))
    });
    assert_eq!(actual, expected);
}

#[test]
fn halves_are_uploaded_as_the_twin_stores_them() {
    let mut values = Random(7).values(1000);
    values.iter_mut().enumerate().for_each(|(place, value)| *value *= 10.0_f32.powi(place as i32 % 10 - 6));
    let expected: Vec<_> = values.iter().map(|&value| twins::half(value)).collect();
    let uploaded = device().upload_f16(&[1000], &values).unwrap();
    assert_eq!(run(device(), |_| Ok(uploaded.clone())), expected);
    let odd = device().upload_f16(&[3], &[0.0; 3]).expect_err("three halves fill no words").to_string();
    assert!(odd.contains("upload: 3 values of F16"), "{odd}");
}

#[test]
fn ops_that_cannot_have_halves_say_so() {
    let device = device();
    let halves = |shape: &[usize]| device.upload_f16(shape, &vec![0.0; shape.iter().product()]).unwrap();
    let full = |shape: &[usize]| device.upload(shape, &vec![0.0; shape.iter().product()]).unwrap();
    let none = AttentionMask::default();
    let layer = Linear::new(device, 4, 4, &[0.0; 16], None).unwrap();
    let whole = Linear::new(device, 4, 4, &[1e6; 16], None).unwrap();
    let norm = LayerNorm::new(device, &[1.0; 6], &[0.0; 6], 1e-5).unwrap();
    let norm_on_vectors = LayerNorm::new(device, &[1.0; 4], &[0.0; 4], 1e-5).unwrap();
    type Recorded<'a> = Box<dyn Fn(&mut Recorder) -> Result<Tensor> + 'a>;
    let refused: [(&str, Recorded<'_>); 12] = [
        ("softmax", Box::new(|it| it.softmax(&halves(&[2, 4])))),
        ("sigmoid", Box::new(|it| it.sigmoid(&halves(&[2, 4])))),
        ("gather_rows", Box::new(|it| it.gather_rows(&halves(&[2, 4]), &device.upload_u32(&[1], &[0])?))),
        ("layer_norm", Box::new(|it| it.layer_norm(&halves(&[2, 4]), &norm_on_vectors))),
        ("layer_norm", Box::new(|it| it.layer_norm_as(DType::F16, &full(&[2, 6]), &norm))),
        ("layer_norm", Box::new(|it| it.layer_norm_as(DType::U32, &full(&[2, 4]), &norm_on_vectors))),
        ("attention", Box::new(|it| it.attention(&halves(&[1, 2, 18]), 1, &none))),
        ("attention", Box::new(|it| it.attention_as(DType::F16, &full(&[1, 2, 18]), 1, &none))),
        ("attention_scores", Box::new(|it| it.attention_probabilities(&halves(&[1, 2, 12]), 1, &none))),
        ("linear", Box::new(|it| it.linear(&halves(&[2, 4]), &whole))),
        ("linear", Box::new(|it| it.linear_as(DType::F16, &full(&[2, 4]), &whole, Activation::None, None))),
        (
            "matmul",
            Box::new(|it| it.linear_with(&full(&[2, 4]), &layer, Activation::None, Some(&halves(&[2, 4])))),
        ),
    ];
    for (place, (op, record)) in refused.iter().enumerate() {
        let mut recorder = Recorder::new(device);
        match record(&mut recorder) {
            Err(Error::Shape { op: named, .. }) => assert!(named.starts_with(op), "{place}: {named}"),
            Err(error) => panic!("{place}: {error}"),
            Ok(_) => panic!("{op} ({place}) took halves"),
        }
    }
}

#[test]
fn halves_take_half_the_room() {
    let arena = |dtype| {
        let norm = LayerNorm::new(device(), &[1.0; 64], &[0.0; 64], 1e-5).unwrap();
        let input = device().upload(&[100, 64], &[0.0; 6400]).unwrap();
        let mut recorder = Recorder::new(device());
        let output = recorder.layer_norm_as(dtype, &input, &norm).unwrap();
        recorder.output(&output).unwrap();
        let plan = recorder.finish().unwrap();
        let bytes = plan.kernels().map(|(_, cost)| cost.bytes).sum::<u64>();
        (plan.arena_bytes(), bytes)
    };
    assert_eq!(arena(DType::F32), (4 * 6400, 8 * 6400 + 8 * 64));
    assert_eq!(arena(DType::F16), (2 * 6400, 6 * 6400 + 8 * 64));
}

/// Weights that f16 holds exactly, so that every precision but f32 stores them so.
struct Noise;

impl Weights for Noise {
    type Error = Error;

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = Random(name.len() as u64).f16_values(shape.iter().product());
        // A power of two near the root of the products' length, so that numbers stay near one.
        Ok(values.iter().map(|value| value / if shape.len() > 1 { 8.0 } else { 1.0 }).collect())
    }
}

/// What a block gives.
struct Outcome {
    hidden_states: Vec<f32>,
    /// Where they were asked for.
    probabilities: Vec<f32>,
    /// That its kernels read and write.
    bytes: u64,
}

fn run_block(precision: Precision, sizes: &BlockSizes, rows: usize, attentions: bool) -> Result<Outcome> {
    let device = workgroup(precision);
    let block = Block::load(&device, &Noise, "block.", sizes)?;
    let input = device.upload(&[1, rows, sizes.hidden], &Random(8).values(rows * sizes.hidden))?;
    let mut recorder = Recorder::new(&device);
    let mut probabilities = Vec::new();
    let asked = attentions.then_some(&mut probabilities);
    let output = block.pre_norm(&mut recorder, &input, &AttentionMask::default(), asked)?;
    let outputs: Vec<_> = std::iter::once(&output).chain(&probabilities).collect();
    for output in &outputs {
        assert_eq!(output.dtype(), DType::F32);
        recorder.output(output)?;
    }
    let plan = recorder.finish()?;
    let bytes = plan.kernels().map(|(_, cost)| cost.bytes).sum();
    let mut arrays = pollster::block_on(plan.run().finish(&outputs))?.into_iter().map(|array| array.values);
    let hidden_states = arrays.next().unwrap_or_default();
    Ok(Outcome { hidden_states, probabilities: arrays.flatten().collect(), bytes })
}

/// With weights in f16, and with activations too.
fn run_both(sizes: &BlockSizes, rows: usize, attentions: bool) -> [Outcome; 2] {
    [Precision::Auto, Precision::F16]
        .map(|precision| run_block(precision, sizes, rows, attentions).expect("a block that runs"))
}

const SIZES: BlockSizes =
    BlockSizes { hidden: 64, intermediate: 96, heads: 4, activation: Activation::QuickGelu, epsilon: 1e-5 };

#[test]
fn a_blocks_inside_lies_in_halves_where_precision_asks() {
    let rows = 37;
    let [full, rounded] = run_both(&SIZES, rows, false);
    // Two normalised copies, queries, keys and values, the context, and what is inside the MLP: two bytes
    // less per value, written once and read once.
    let inside = rows * (2 * 64 + 3 * 64 + 64 + 96);
    assert_eq!(full.bytes - rounded.bytes, 2 * 2 * inside as u64);
    assert!(rounded.hidden_states != full.hidden_states);
    assert_close(&rounded.hidden_states, &full.hidden_states, 2e-3);
}

#[test]
fn probabilities_are_of_queries_and_keys_in_full() {
    let rows = 19;
    let [full, rounded] = run_both(&SIZES, rows, true);
    assert_eq!(full.bytes - rounded.bytes, 2 * 2 * (rows * (2 * 64 + 64 + 96)) as u64);
    assert_close(&rounded.probabilities, &full.probabilities, 2e-3);
    assert_close(&rounded.hidden_states, &full.hidden_states, 2e-3);
}

// Heads of six values, a width of thirty inside the MLP, or rows longer than the layer norm on vectors takes:
// the rest is in f16.
#[test]
fn what_the_kernels_on_vectors_do_not_take_stays_in_full() {
    let rows = 5;
    for (sizes, inside) in [
        (BlockSizes { hidden: 24, intermediate: 32, ..SIZES }, 2 * 24 + 32),
        (BlockSizes { intermediate: 30, ..SIZES }, 64 + 3 * 64 + 64),
        (BlockSizes { hidden: 1028, heads: 257, ..SIZES }, 3 * 1028 + 1028 + 96),
        (BlockSizes { hidden: 30, heads: 5, ..SIZES }, 0),
    ] {
        let [full, rounded] = run_both(&sizes, rows, false);
        assert_eq!(full.bytes - rounded.bytes, 2 * 2 * (rows * inside) as u64, "{sizes:?}");
        assert_close(&rounded.hidden_states, &full.hidden_states, 4e-3);
    }
}
