//! Whoever changes a kernel can measure it: each has a bench, which really runs it.

use std::collections::BTreeSet;

use clipseg_benches::Devices;
use clipseg_benches::host::Host;
use clipseg_benches::kernels::{On, Work, all};
use clipseg_shaders::kernels::ALL;
use clipseg_tensor::Recorder;

#[test]
fn every_kernel_has_a_bench() {
    let measured: BTreeSet<_> = all().iter().map(|bench| bench.kernel).collect();
    let there: BTreeSet<_> = ALL.iter().map(|kernel| kernel.name).collect();
    let missing: Vec<_> = there.difference(&measured).collect();
    assert!(missing.is_empty(), "benches/src/kernels.rs measures all kernels but {missing:?}");
    let unknown: Vec<_> = measured.difference(&there).collect();
    assert!(unknown.is_empty(), "benches/src/kernels.rs measures {unknown:?}, which are not kernels");
}

#[test]
fn a_bench_runs_its_kernel() {
    let mut devices = Devices::default();
    let mut run = BTreeSet::new();
    for bench in all() {
        match bench.work {
            Work::Recorded(record) => {
                let Some(device) = devices.get(bench.on) else { continue };
                let mut recorder = Recorder::new(device);
                let output = record(bench.kernel, device, &mut recorder).expect(bench.kernel);
                let plan = recorder.finish().expect(bench.kernel);
                let kernels: Vec<_> = plan.kernels().map(|(kernel, _)| kernel).collect();
                assert!(kernels.contains(&bench.kernel), "{}: {kernels:?}", bench.kernel);
                drop(output);
            }
            Work::OfHost(work) => {
                work(Host::open().expect("this test needs an adapter")).expect(bench.kernel)();
            }
        }
        run.insert(bench.kernel);
    }
    // Any adapter runs these.
    let everywhere = all().into_iter().filter(|bench| [On::Workgroup, On::PackedF16].contains(&bench.on));
    for bench in everywhere {
        assert!(run.contains(bench.kernel), "{} was not run", bench.kernel);
    }
}
