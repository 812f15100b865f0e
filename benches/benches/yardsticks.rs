//! What every other figure contains, and what none can beat: a submit with one tiny kernel, and a plain copy,
//! by the driver and by a kernel. On a GPU both copies are as fast; a software adapter's is a memcpy, which
//! no kernel comes near.
//!
//! `cargo bench -p clipseg-benches --bench yardsticks`

use clipseg_benches::{Rate, bench_op, criterion, families, random_tensor, repeated};
use clipseg_tensor::{Activation, Recorder};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// One value through one kernel: the submit and the wait.
fn empty(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("empty dispatch");
    for (name, device) in families() {
        let value = random_tensor(&device, &[1]).expect("it fits");
        bench_op(&mut group, BenchmarkId::from_parameter(name), &device, Rate::Bytes, |recorder| {
            recorder.activation(&value, Activation::None)
        });
    }
    group.finish();
}

/// The queries, keys and values of a layer, and the neighbourhoods of a large batch, from buffer to buffer.
fn copy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy");
    // Copies know no family of kernels.
    for (_, device) in families().take(1) {
        for shape in [[485, 2304], [8 * 484, 4096]] {
            let from = random_tensor(&device, &shape).expect("it fits");
            let to = device.uninit(&shape).expect("it fits");
            let plan = Recorder::new(&device).finish().expect("the device takes an empty plan");
            let copy = || {
                let mut run = plan.run();
                run.copy_in(&from, &to).expect("the shapes are the same");
                run.submit().and_then(|()| device.wait()).expect("the copy runs");
            };
            group.throughput(Throughput::Bytes(2 * 4 * from.len() as u64));
            group.bench_function(
                BenchmarkId::from_parameter(format!("{}x{}", shape[0], shape[1])),
                |bencher| {
                    bencher.iter(copy);
                },
            );
        }
    }
    group.finish();
}

/// FiLM with nothing to add or to multiply by: a load and a store for each vector.
fn copy_by_kernel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy by a kernel");
    for (name, device) in families() {
        for shape in [[1, 485, 768], [32, 485, 64]] {
            let from = random_tensor(&device, &shape).expect("it fits");
            let id = BenchmarkId::new(name, format!("{}x{}", shape[0] * shape[1], shape[2]));
            bench_op(&mut group, id, &device, Rate::Bytes, |recorder| {
                repeated(&from, |tensor| recorder.film(shape[0], tensor, None, None))
            });
        }
    }
    group.finish();
}

criterion_group! { name = yardsticks; config = criterion(); targets = empty, copy, copy_by_kernel }
criterion_main!(yardsticks);
