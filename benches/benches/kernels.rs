//! The heavy kernels at the shapes of clipseg-rd64-refined, in both families, beside an empty plan: what a submit and a
//! read-back cost.
//!
//! `cargo bench -p clipseg-benches --bench kernels`

use std::time::Duration;

use clipseg_benches::{device, random, run_to_end};
use clipseg_tensor::{AttentionMask, Device, KernelFamily, LayerNorm, Linear, Recorder, Tensor};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const TOKENS: usize = 485;
/// (inner, columns) of the vision tower's products: attention's output, queries with keys and values, the MLP's two.
const PRODUCTS: [(usize, usize); 4] = [(768, 768), (768, 2304), (768, 3072), (3072, 768)];

/// Times `op` on an input of random numbers that lies where the op before it would have left it.
fn bench_op(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    device: &Device,
    columns: usize,
    op: impl Fn(&mut Recorder, &Tensor) -> clipseg_tensor::Result<Tensor>,
) {
    let mut recorder = Recorder::new(device);
    let record = |recorder: &mut Recorder| -> clipseg_tensor::Result<Tensor> {
        let input = device.upload(&[1, TOKENS, columns], &random(TOKENS * columns))?;
        let output = op(recorder, &input)?;
        // Of the output, one row goes back: the copy of all of it is not the kernel's.
        let row = device.upload_u32(&[1], &[TOKENS as u32 - 1])?;
        let probe = recorder.gather_rows(&output, &row)?;
        recorder.output(&probe)
    };
    let probe = record(&mut recorder).expect("the shapes fit");
    let plan = recorder.finish().expect("the device takes the plan");
    run_to_end(&plan, &probe);
    group.bench_function(id, |bencher| bencher.iter(|| run_to_end(&plan, &probe)));
}

fn families() -> impl Iterator<Item = (&'static str, Device)> {
    [("classic", KernelFamily::Classic), ("subgroup", KernelFamily::Subgroup)]
        .into_iter()
        .filter_map(|(name, family)| Some((name, device(family)?)))
}

fn matmul(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matmul");
    for (name, device) in families() {
        for (inner, columns) in PRODUCTS {
            // Elements a second stand for FLOP/s.
            group.throughput(Throughput::Elements((2 * TOKENS * inner * columns) as u64));
            let (weight, bias) = (random(columns * inner), random(columns));
            let layer = Linear::new(&device, columns, inner, &weight, Some(&bias)).expect("it fits");
            let id = BenchmarkId::new(name, format!("{TOKENS}x{inner}x{columns}"));
            bench_op(&mut group, id, &device, inner, |recorder, input| recorder.linear(input, &layer));
        }
    }
    group.finish();
}

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    for (name, device) in families() {
        for (heads, size) in [(12, 64), (4, 16)] {
            group.throughput(Throughput::Elements((4 * TOKENS * TOKENS * heads * size) as u64));
            let id = BenchmarkId::new(name, format!("{heads} heads of {size}"));
            bench_op(&mut group, id, &device, 3 * heads * size, |recorder, input| {
                recorder.attention(input, heads, &AttentionMask::default())
            });
        }
    }
    group.finish();
}

fn layer_norm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layer_norm");
    for (name, device) in families() {
        group.throughput(Throughput::Bytes((2 * 4 * TOKENS * 768) as u64));
        let layer = LayerNorm::new(&device, &random(768), &random(768), 1e-5).expect("it fits");
        bench_op(&mut group, BenchmarkId::new(name, "485x768"), &device, 768, |recorder, input| {
            recorder.layer_norm(input, &layer)
        });
    }
    group.finish();
}

/// One row gathered: the submit, the probe and the read-back that every other figure contains.
fn overhead(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("overhead");
    for (name, device) in families() {
        bench_op(&mut group, BenchmarkId::new(name, "submit and read back"), &device, 768, |_, input| {
            Ok(input.clone())
        });
    }
    group.finish();
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = overhead, matmul, attention, layer_norm
}
criterion_main!(kernels);
