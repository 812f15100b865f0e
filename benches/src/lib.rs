//! What the benches share.

pub mod host;
pub mod kernels;

use std::time::Duration;

use clipseg_tensor::{
    Cost, Device, DeviceOptions, KernelFamily, MatrixUnits, Plan, Precision, Recorder, Result, Tensor,
};
use clipseg_testing::Random;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};

use kernels::On;

/// What a throughput counts. Either comes from the costs of the kernels that were recorded.
#[derive(Clone, Copy, Debug)]
pub enum Rate {
    /// Floating-point operations; criterion calls them elements.
    Flops,
    /// Bytes of all tensors, each read or written once.
    Bytes,
}

/// Few samples: a run takes up to seconds where there is no GPU.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3))
}

/// A device for each family of kernels that the adapter runs.
pub fn families() -> impl Iterator<Item = (&'static str, Device)> {
    let open = |kernels| Device::open(&DeviceOptions { kernels, ..DeviceOptions::default() }).ok();
    [("workgroup", KernelFamily::Workgroup), ("subgroup", KernelFamily::Subgroup)]
        .into_iter()
        .filter_map(move |(name, family)| Some((name, open(family)?)))
}

/// What kernels are measured on, each opened once.
#[derive(Default)]
pub struct Devices(Vec<(On, Option<Device>)>);

impl Devices {
    /// The device for some kernels; `None` where the adapter does not run them.
    pub fn get(&mut self, on: On) -> Option<&Device> {
        let place = self.0.iter().position(|(opened, _)| *opened == on).unwrap_or_else(|| {
            self.0.push((on, open(on)));
            self.0.len() - 1
        });
        self.0[place].1.as_ref()
    }
}

fn open(on: On) -> Option<Device> {
    let (kernels, precision) = match on {
        On::Workgroup | On::Subgroups => (KernelFamily::Workgroup, Precision::F32),
        On::PackedF16 | On::PackedF16Subgroups | On::MatrixUnits { .. } => {
            (KernelFamily::Workgroup, Precision::F16)
        }
        On::Lanes => (KernelFamily::Subgroup, Precision::F32),
        On::LanesPackedF16 => (KernelFamily::Subgroup, Precision::F16),
    };
    let matrix_units = match on {
        On::MatrixUnits { .. } => MatrixUnits::Any,
        _ => MatrixUnits::Off,
    };
    let options = DeviceOptions { kernels, precision, matrix_units, ..DeviceOptions::default() };
    let device = Device::open(&options).ok()?;
    let report = pollster::block_on(device.adapter_report())?;
    let fits = match on {
        On::Subgroups | On::PackedF16Subgroups => report.subgroups,
        On::MatrixUnits { side, lanes } => {
            [report.matrix_units, report.matrix_lanes] == [Some(side), Some(lanes)]
        }
        _ => true,
    };
    fits.then_some(device)
}

/// Numbers in -1..1 that are never constant: a cache or a branch predictor must not learn them.
#[must_use]
pub fn random(length: usize) -> Vec<f32> {
    Random(1).values(length)
}

/// [`random`] numbers on the device.
///
/// # Errors
/// The device's.
pub fn random_tensor(device: &Device, shape: &[usize]) -> Result<Tensor> {
    device.upload(shape, &random(shape.iter().product()))
}

/// An op eight times, each on what the one before gave: in the time of so many, that of bringing the first
/// input from where it was uploaded to where the kernel wants it counts little.
///
/// # Errors
/// Those of `op`.
pub fn repeated(input: &Tensor, mut op: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    (0..8).try_fold(input.clone(), |tensor, _| op(&tensor))
}

/// Runs a plan and waits until the device is done.
///
/// # Panics
/// When the device fails: there is nothing to measure.
pub fn run_to_end(device: &Device, plan: &Plan) {
    plan.run().submit().and_then(|()| device.wait()).expect("the plan runs");
}

/// Times what `record` records, on inputs of random numbers, from the submit until the device is done.
///
/// # Panics
/// When the shapes do not fit, or the device fails.
pub fn bench_op(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    device: &Device,
    rate: Rate,
    record: impl FnOnce(&mut Recorder) -> Result<Tensor>,
) {
    let mut recorder = Recorder::new(device);
    // Kept until the plan is done with. It is not made an output, as a copy out of a texture is not the op's.
    let output = record(&mut recorder).expect("the shapes fit");
    let plan = recorder.finish().expect("the device takes the plan");
    let cost = plan.kernels().fold(Cost::default(), |sum, (_, cost)| sum + cost);
    group.throughput(match rate {
        Rate::Flops => Throughput::Elements(cost.flops),
        Rate::Bytes => Throughput::Bytes(cost.bytes),
    });
    run_to_end(device, &plan);
    group.bench_function(id, |bencher| bencher.iter(|| run_to_end(device, &plan)));
    drop(output);
}
