//! Kernels over rows of tokens, at the shapes of clipseg-rd64-refined: all are bound by memory.
//!
//! `cargo bench -p clipseg-benches --bench rows`

use clipseg_benches::{Rate, bench_op, criterion, families, random, random_tensor, repeated};
use clipseg_tensor::{Device, LayerNorm, Modulation, Recorder, Result, Tensor};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Those of a 352 × 352 image, with the class token.
const TOKENS: usize = 485;

fn bench(
    criterion: &mut Criterion,
    op: &str,
    shape: &str,
    record: impl Fn(&Device, &mut Recorder) -> Result<Tensor>,
) {
    let mut group = criterion.benchmark_group(op);
    for (name, device) in families() {
        let id = BenchmarkId::new(name, shape);
        bench_op(&mut group, id, &device, Rate::Bytes, |recorder| record(&device, recorder));
    }
    group.finish();
}

fn norms(criterion: &mut Criterion) {
    for (rows, columns) in [(TOKENS, 768), (32 * TOKENS, 64)] {
        bench(criterion, "layer_norm", &format!("{rows}x{columns}"), |device, recorder| {
            let layer = LayerNorm::new(device, &random(columns), &random(columns), 1e-5)?;
            let input = random_tensor(device, &[rows, columns])?;
            repeated(&input, |tensor| recorder.layer_norm(tensor, &layer))
        });
    }
    bench(criterion, "softmax", "5820x485", |device, recorder| {
        recorder.softmax(&random_tensor(device, &[12 * TOKENS, TOKENS])?)
    });
}

fn film(criterion: &mut Criterion) {
    for pairs in [1, 32] {
        bench(criterion, "film", &format!("{pairs} pairs"), |device, recorder| {
            let reduced = random_tensor(device, &[1, TOKENS, 64])?;
            let previous = random_tensor(device, &[pairs, TOKENS, 64])?;
            let gamma = random_tensor(device, &[pairs, 64])?;
            let beta = random_tensor(device, &[pairs, 64])?;
            repeated(&previous, |previous| {
                let modulation = Modulation { gamma: &gamma, beta: &beta };
                recorder.film(pairs, &reduced, Some(previous), Some(modulation))
            })
        });
    }
}

fn embeddings(criterion: &mut Criterion) {
    // Places that jump about, as token ids do.
    let scattered = |count: usize, bound: usize| -> Vec<u32> {
        (0..count).map(|place| (place * 7919 % bound) as u32).collect()
    };
    bench(criterion, "gather_rows", "484 of 485x768", |device, recorder| {
        let rows = device.upload_u32(&[TOKENS - 1], &scattered(TOKENS - 1, TOKENS))?;
        recorder.gather_rows(&random_tensor(device, &[TOKENS, 768])?, &rows)
    });
    bench(criterion, "token_embedding", "32x16x512", |device, recorder| {
        let ids = device.upload_u32(&[32, 16], &scattered(32 * 16, 49_408))?;
        let position_ids = device.upload_u32(&[32, 16], &scattered(32 * 16, 77))?;
        let tokens = random_tensor(device, &[49_408, 512])?;
        let positions = random_tensor(device, &[77, 512])?;
        recorder.token_embedding(&ids, &position_ids, &tokens, &positions)
    });
    bench(criterion, "vision_embedding", "485x768", |device, recorder| {
        let patches = random_tensor(device, &[1, TOKENS - 1, 768])?;
        let class_embedding = random_tensor(device, &[768])?;
        recorder.vision_embedding(&patches, &class_embedding, &random_tensor(device, &[TOKENS, 768])?)
    });
}

/// Sums and parts of the vision tower's hidden states, and the products of its heads.
fn algebra(criterion: &mut Criterion) {
    bench(criterion, "add", "485x768", |device, recorder| {
        let other = random_tensor(device, &[TOKENS, 768])?;
        repeated(&random_tensor(device, &[TOKENS, 768])?, |tensor| recorder.add(tensor, &other))
    });
    bench(criterion, "permute", "485x12x64", |device, recorder| {
        recorder.permute(&random_tensor(device, &[TOKENS, 12, 64])?, &[1, 0, 2])
    });
    bench(criterion, "slice", "485x768 of 2304", |device, recorder| {
        recorder.slice(&random_tensor(device, &[TOKENS, 2304])?, 1, 768, 768)
    });
    bench(criterion, "concat", "485x768 and 485x768", |device, recorder| {
        let right = random_tensor(device, &[TOKENS, 768])?;
        recorder.concat(&random_tensor(device, &[TOKENS, 768])?, &right, 1)
    });
    let mut group = criterion.benchmark_group("batched_matmul");
    for (name, device) in families() {
        bench_op(&mut group, BenchmarkId::new(name, "12x485x64x485"), &device, Rate::Flops, |recorder| {
            let keys = random_tensor(&device, &[12, TOKENS, 64])?;
            recorder.matmul_transposed(&random_tensor(&device, &[12, TOKENS, 64])?, &keys)
        });
        bench_op(&mut group, BenchmarkId::new(name, "12x485x485x64"), &device, Rate::Flops, |recorder| {
            let values = random_tensor(&device, &[12, TOKENS, 64])?;
            recorder.matmul(&random_tensor(&device, &[12, TOKENS, TOKENS])?, &values)
        });
    }
    group.finish();
}

criterion_group! { name = rows; config = criterion(); targets = norms, film, embeddings, algebra }
criterion_main!(rows);
