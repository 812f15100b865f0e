//! Every kernel that the adapter runs, each in the form of its name.
//!
//! `cargo bench -p clipseg-benches --bench kernels -- NAME`

use clipseg_benches::host::Host;
use clipseg_benches::kernels::{Work, all};
use clipseg_benches::{Devices, bench_op, criterion};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn kernels(criterion: &mut Criterion) {
    let mut devices = Devices::default();
    for bench in all() {
        let mut group = criterion.benchmark_group(bench.kernel);
        let id = BenchmarkId::from_parameter(bench.shape);
        match bench.work {
            Work::Recorded(record) => {
                let Some(device) = devices.get(bench.on) else { continue };
                let record = |recorder: &mut _| record(bench.kernel, device, recorder);
                bench_op(&mut group, id, device, bench.rate, record);
            }
            Work::OfHost(work) => {
                let Some(host) = Host::open() else { continue };
                let work = work(host).expect("the sizes fit");
                work();
                group.bench_function(id, |bencher| bencher.iter(&work));
            }
        }
        group.finish();
    }
}

criterion_group! { name = benches; config = criterion(); targets = kernels }
criterion_main!(benches);
