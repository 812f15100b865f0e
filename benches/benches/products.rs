//! Matrix products and what is made of them, at the shapes of clipseg-rd64-refined, in both families of
//! kernels.
//!
//! `cargo bench -p clipseg-benches --bench products`

use clipseg_benches::{Rate, bench_op, criterion, families, kernels, random, random_tensor};
use clipseg_tensor::{Activation, Convolution3x3, Device, Linear, Mlp, TransposedConvolution, UpsampleInput};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Those of a 352 × 352 image, with the class token.
const TOKENS: usize = 485;
/// The image's patches on a side.
const GRID: usize = 22;
/// The decoder's width.
const REDUCED: usize = 64;
/// (rows, inner, columns): the vision tower's attention output, queries with keys and values, and the MLP's
/// two; the decoder's reduction; a prompt's condition; the text tower's queries with keys and values. Those
/// of the vision tower for a batch of four too.
const PRODUCTS: [(usize, usize, usize); 11] = [
    (TOKENS, 768, 768),
    (TOKENS, 768, 2304),
    (TOKENS, 768, 3072),
    (TOKENS, 3072, 768),
    (4 * TOKENS, 768, 768),
    (4 * TOKENS, 768, 2304),
    (4 * TOKENS, 768, 3072),
    (4 * TOKENS, 3072, 768),
    (TOKENS, 768, REDUCED),
    (1, 512, REDUCED),
    (8, 512, 1536),
];

fn layer(device: &Device, columns: usize, inner: usize) -> Linear {
    kernels::layer(device, columns, inner).expect("it fits")
}

fn matmul(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matmul");
    for (name, device) in families() {
        for (rows, inner, columns) in PRODUCTS {
            let layer = layer(&device, columns, inner);
            let id = BenchmarkId::new(name, format!("{rows}x{inner}x{columns}"));
            bench_op(&mut group, id, &device, Rate::Flops, |recorder| {
                recorder.linear(&random_tensor(&device, &[rows, inner])?, &layer)
            });
        }
    }
    group.finish();
}

/// The vision tower's, and the decoder's, which one kernel can do.
fn mlp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mlp");
    for (name, device) in families() {
        for (width, hidden, activation) in
            [(768, 3072, Activation::QuickGelu), (REDUCED, 2048, Activation::Relu)]
        {
            let mlp = Mlp::new(layer(&device, hidden, width), layer(&device, width, hidden), activation)
                .expect("it fits");
            let id = BenchmarkId::new(name, format!("{TOKENS}x{width}x{hidden}"));
            bench_op(&mut group, id, &device, Rate::Flops, |recorder| {
                let input = random_tensor(&device, &[TOKENS, width])?;
                recorder.mlp(&input, &mlp, &input)
            });
        }
    }
    group.finish();
}

/// The neighbourhoods gathered, and their product.
fn convolution(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv2d_3x3");
    for (name, device) in families() {
        let (weight, bias) = (random(9 * REDUCED * REDUCED), random(REDUCED));
        let layer = Convolution3x3::new(&device, REDUCED, REDUCED, &weight, &bias).expect("it fits");
        let id = BenchmarkId::new(name, format!("{GRID}x{GRID}x{REDUCED}"));
        bench_op(&mut group, id, &device, Rate::Flops, |recorder| {
            let input = random_tensor(&device, &[1, TOKENS, REDUCED])?;
            recorder.conv2d_3x3(&input, (GRID, GRID), 1, &layer, Activation::Relu)
        });
    }
    group.finish();
}

/// One step to all pixels, and two as the published model has them: products, then the pixels put in place.
fn transposed_convolution(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transposed_conv2d");
    for (name, device) in families() {
        let layer = |inputs: usize, outputs: usize, kernel: usize, input| {
            let (weight, bias) = (random(inputs * outputs * kernel * kernel), random(outputs));
            TransposedConvolution::new(&device, inputs, outputs, kernel, &weight, &bias, input)
                .expect("it fits")
        };
        let one = layer(REDUCED, 1, 16, UpsampleInput::Tokens);
        let first = layer(REDUCED, REDUCED / 2, 4, UpsampleInput::Tokens);
        let second = layer(REDUCED / 2, 1, 4, UpsampleInput::Pixels(16));
        let steps = [("one", &one, None), ("two", &first, Some((Activation::Relu, &second)))];
        for (count, first, second) in steps {
            bench_op(&mut group, BenchmarkId::new(name, count), &device, Rate::Bytes, |recorder| {
                let input = random_tensor(&device, &[1, GRID * GRID, REDUCED])?;
                recorder.transposed_conv2d(&input, (GRID, GRID), first, second)
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = products;
    config = criterion();
    targets = matmul, mlp, convolution, transposed_convolution
}
criterion_main!(products);
