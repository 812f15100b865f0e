//! Attention of the vision tower, the decoder and the text tower of clipseg-rd64-refined, in both families of
//! kernels.
//!
//! `cargo bench -p clipseg-benches --bench attention`

use clipseg_benches::{Rate, bench_op, criterion, families, random_tensor};
use clipseg_tensor::AttentionMask;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// (sequences, tokens, heads, values per head, causal)
const SHAPES: [(usize, usize, usize, usize, bool); 4] =
    [(1, 485, 12, 64, false), (1, 485, 4, 16, false), (8, 485, 4, 16, false), (8, 8, 8, 64, true)];

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    for (name, device) in families() {
        for (sequences, tokens, heads, size, causal) in SHAPES {
            let id = BenchmarkId::new(name, format!("{sequences}x{tokens}, {heads} heads of {size}"));
            bench_op(&mut group, id, &device, Rate::Flops, |recorder| {
                let input = random_tensor(&device, &[sequences, tokens, 3 * heads * size])?;
                recorder.attention(&input, heads, &AttentionMask { causal, ..AttentionMask::default() })
            });
        }
    }
    group.finish();
}

/// Scores that are kept, and their softmax: what is asked for with attentions.
fn probabilities(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention_probabilities");
    for (name, device) in families() {
        bench_op(
            &mut group,
            BenchmarkId::new(name, "485, 12 heads of 64"),
            &device,
            Rate::Bytes,
            |recorder| {
                let input = random_tensor(&device, &[1, 485, 3 * 768])?;
                recorder.attention_probabilities(&input, 12, &AttentionMask::default())
            },
        );
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = attention, probabilities }
criterion_main!(benches);
