//! Kernels over pixels and maps, at the sizes of clipseg-rd64-refined and of a photo.
//!
//! `cargo bench -p clipseg-benches --bench pixels`

use clipseg_benches::{Rate, bench_op, criterion, device, random_tensor};
use clipseg_tensor::{Activation, Device, KernelFamily, Recorder, Result, Tensor, Tile};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// The side of what the model looks at, and gives out.
const SIDE: usize = 352;
/// A photo's rows and columns.
const PHOTO: (usize, usize) = (960, 1280);

/// In one family: these kernels are the same in both.
fn bench(
    criterion: &mut Criterion,
    op: &str,
    shape: &str,
    record: impl FnOnce(&Device, &mut Recorder) -> Result<Tensor>,
) {
    let Some(device) = device(KernelFamily::Workgroup) else { return };
    let mut group = criterion.benchmark_group(op);
    let id = BenchmarkId::from_parameter(shape);
    bench_op(&mut group, id, &device, Rate::Bytes, |recorder| record(&device, recorder));
    group.finish();
}

fn inputs(criterion: &mut Criterion) {
    bench(criterion, "patchify", "3x352x352", |device, recorder| {
        recorder.patchify(&random_tensor(device, &[1, 3, SIDE, SIDE])?, 16)
    });
    // From the grid of 224 × 224 that CLIP was trained with.
    bench(criterion, "bicubic_positions", "14x14 to 22x22", |device, recorder| {
        recorder.bicubic_positions(&random_tensor(device, &[1 + 14 * 14, 768])?, 22, 22)
    });
}

fn maps(criterion: &mut Criterion) {
    bench(criterion, "sigmoid", "8x352x352", |device, recorder| {
        recorder.sigmoid(&random_tensor(device, &[8, SIDE, SIDE])?)
    });
    bench(criterion, "activation", "8x352x352", |device, recorder| {
        recorder.activation(&random_tensor(device, &[8, SIDE, SIDE])?, Activation::QuickGelu)
    });
    bench(criterion, "bilinear_resize", "352x352 to 960x1280", |device, recorder| {
        let input = random_tensor(device, &[1, SIDE, SIDE])?;
        recorder.bilinear_resize(&input, &Tile::whole(SIDE, SIDE), &Tile::whole(PHOTO.0, PHOTO.1))
    });
}

fn guided_filter(criterion: &mut Criterion) {
    bench(criterion, "guided_coefficients", "352x352, radius 8", |device, recorder| {
        let guide = random_tensor(device, &[3, SIDE, SIDE])?;
        recorder.guided_coefficients(&guide, &random_tensor(device, &[SIDE, SIDE])?, 8, 1e-4)
    });
    bench(criterion, "guided_apply", "960x1280", |device, recorder| {
        let guide = random_tensor(device, &[3, PHOTO.0, PHOTO.1])?;
        recorder.guided_apply(&random_tensor(device, &[4, PHOTO.0, PHOTO.1])?, &guide)
    });
}

criterion_group! { name = pixels; config = criterion(); targets = inputs, maps, guided_filter }
criterion_main!(pixels);
