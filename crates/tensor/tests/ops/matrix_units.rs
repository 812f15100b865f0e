//! The kernels on matrix units against the CPU twins, where there are such: Mesa 26.2's llvmpipe at 256 bits
//! has them, and GPUs. `cargo test -p clipseg-tensor --test ops -- --ignored matrix_units`

use std::sync::OnceLock;

use clipseg_shaders::kernels::{attention, matmul_tile};
use clipseg_shaders::twins;
use clipseg_tensor::{
    AdapterChoice, AttentionMask, DType, Device, DeviceOptions, Error, KernelFamily, Linear, MatrixUnits,
    Packing, Precision, Recorder, adapters,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{ACTIVATIONS, Random, assert_close_as, cases, ragged, run};

/// Products of halves are exact; matrix units may round their sums more coarsely than f32 does.
const PRODUCT_TOLERANCE: f32 = 1e-5;
/// Probabilities are rounded to f16, which has eleven digits.
const ATTENTION_TOLERANCE: f32 = 1.0 / 2048.0;

const OUTPUTS: [DType; 2] = [DType::F32, DType::F16];

fn options(matrix_units: MatrixUnits) -> DeviceOptions {
    DeviceOptions {
        adapter: AdapterChoice::Driver,
        kernels: KernelFamily::Workgroup,
        precision: Precision::F16,
        runtime_checks: true,
        matrix_units,
        ..DeviceOptions::default()
    }
}

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        Device::open(&options(MatrixUnits::Any)).expect("these tests need an adapter with matrix units")
    })
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    #[ignore = "needs an adapter with matrix units"]
    fn products_equal_the_twin(
        rows in select(&[17_usize, 33, 63, 64, 65, 130][..]),
        columns in select(&[4_usize, 12, 60, 64, 68, 132][..]),
        inner in select(&[4_usize, 8, 20, 32, 36, 68, 260, 768][..]),
        activation in select(&ACTIVATIONS[..]),
        (has_bias, has_residual) in any::<(bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let values = random.f16_values(rows * inner);
        let weight = random.f16_values(columns * inner);
        let bias = has_bias.then(|| random.values(columns));
        let residual = if has_residual { random.values(rows * columns) } else { Vec::new() };
        let params = matmul_tile::Params {
            rows: rows as u32,
            columns: columns as u32,
            inner: inner as u32,
            has_bias: has_bias.into(),
            has_residual: has_residual.into(),
        };
        let mut expected = vec![0.0; rows * columns];
        let bias_values = bias.as_deref().unwrap_or_default();
        twins::matmul(&params, activation, &values, &weight, bias_values, &residual, &mut expected);
        let input = device().upload_f16(&[rows, inner], &values).expect("an input in f16");
        let layer = Linear::new(device(), columns, inner, &weight, bias.as_deref()).expect("a layer");
        let residual = has_residual.then(|| device().upload(&[rows, columns], &residual).expect("a residual"));
        for output in OUTPUTS {
            let mut kernels = Recorder::new(device()).linear_kernels(output, &input, &layer);
            kernels.retain(|name| name.starts_with("matmul_cooperative"));
            assert!(kernels.len() > 1, "{kernels:?}");
            for kernel in kernels {
                let actual = run(device(), |recorder| {
                    recorder.linear_by(kernel, output, &input, &layer, activation, residual.as_ref())
                });
                assert_close_as(output, &actual, &expected, PRODUCT_TOLERANCE);
            }
        }
    }

    #[test]
    #[ignore = "needs an adapter with matrix units"]
    fn attention_equals_the_twin(
        (batch, tokens, heads) in (1..=2_usize, ragged(), 1..=2_usize),
        head_size in select(&[4_usize, 8, 16, 20, 24, 32, 36, 48, 64][..]),
        (causal, masked, packed) in any::<(bool, bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let width = heads * head_size;
        let packed = packed && batch == 1;
        let values = random.values(batch * tokens * 3 * width);
        let values: Vec<_> = values.iter().map(|value| twins::half(3.0 * value)).collect();
        let keys = if masked { random.indices(batch * tokens, 2) } else { Vec::new() };
        let cu_seqlens = if packed { vec![0, tokens as u32 / 3, tokens as u32] } else { Vec::new() };
        let params = attention::Params {
            tokens: tokens as u32,
            heads: heads as u32,
            head_size: head_size as u32,
            causal: causal.into(),
            has_mask: masked.into(),
            has_cu_seqlens: packed.into(),
            scale: 1.0 / (head_size as f32).sqrt(),
        };
        let mut expected = vec![0.0; batch * tokens * width];
        twins::attention(&params, &values, &keys, &cu_seqlens, &mut expected);
        let key_mask = masked.then(|| device().upload_u32(&[batch, tokens], &keys).expect("a mask"));
        let cu_seqlens =
            packed.then(|| device().upload_u32(&[cu_seqlens.len()], &cu_seqlens).expect("sequences"));
        let packing = cu_seqlens.as_ref().map(|cu_seqlens| Packing { cu_seqlens, max_seqlen: tokens, shared: None });
        let mask = AttentionMask { causal, key_padding_mask: key_mask.as_ref(), packing };
        let query_key_value =
            device().upload_f16(&[batch, tokens, 3 * width], &values).expect("an input in f16");
        for output in OUTPUTS {
            let actual = run(device(), |recorder| recorder.attention_as(output, &query_key_value, heads, &mask));
            assert_close_as(output, &actual, &expected, ATTENTION_TOLERANCE * 3.0);
        }
    }
}

#[test]
fn an_adapter_without_matrix_units_is_refused_where_they_are_insisted_on() {
    let has_some = pollster::block_on(adapters()).iter().any(|adapter| adapter.matrix_units.is_some());
    match Device::open(&options(MatrixUnits::Any)) {
        Ok(_) => assert!(has_some, "an adapter without matrix units was opened with them"),
        Err(Error::Adapter { reason, .. }) => assert!(reason.contains("matrix units"), "{reason}"),
        Err(other) => panic!("{other}"),
    }
    // In full they would round what is not to be rounded.
    match Device::open(&DeviceOptions { precision: Precision::F32, ..options(MatrixUnits::Any) }) {
        Err(Error::Adapter { reason, .. }) => assert!(reason.contains("f16"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // The processor has none.
    let on_processor = |matrix_units| {
        let kernels = KernelFamily::Auto;
        Device::open(&DeviceOptions { adapter: AdapterChoice::Processor, kernels, ..options(matrix_units) })
    };
    match on_processor(MatrixUnits::Any) {
        Err(Error::Adapter { reason, .. }) => assert!(reason.contains("matrix units"), "{reason}"),
        other => panic!("{other:?}"),
    }
    on_processor(MatrixUnits::Known).expect("the processor");
    // Wished for, they are left out.
    Device::open(&options(MatrixUnits::Known)).expect("an adapter, with or without matrix units");
}

#[test]
fn every_choice_is_read() {
    let read: Vec<_> = MatrixUnits::NAMES.iter().map(|name| name.parse::<MatrixUnits>()).collect();
    assert_eq!(read, [MatrixUnits::Off, MatrixUnits::Known, MatrixUnits::Any].map(Ok));
    assert!("on".parse::<MatrixUnits>().is_err_and(|error| error.contains("off, known, any")));
}
