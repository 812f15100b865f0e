//! What the whole-engine tests share: a device for each family of kernels and the processor, and inputs that
//! are random, never constant.

pub mod host;

use std::path::PathBuf;
use std::sync::LazyLock;

use clipseg::{AdapterChoice, ClipSegForImageSegmentation, Device, DeviceOptions, KernelFamily, Precision};
use clipseg_testing::Random;
pub use clipseg_testing::assert_close;

/// The best adapter of a driver with the kernels that suit it.
pub static DEVICE: LazyLock<Device> =
    LazyLock::new(|| open(AdapterChoice::Driver, KernelFamily::Auto, Precision::Auto));
/// The same adapter with the workgroup kernels.
pub static WORKGROUP: LazyLock<Device> =
    LazyLock::new(|| open(AdapterChoice::Driver, KernelFamily::Workgroup, Precision::Auto));
/// The processor.
pub static PROCESSOR: LazyLock<Device> =
    LazyLock::new(|| open(AdapterChoice::Processor, KernelFamily::Auto, Precision::Auto));

/// Every way to run a model: on a driver's best adapter with the kernels that suit it and with the workgroup
/// kernels, and on the processor.
pub const WAYS: [(AdapterChoice, KernelFamily); 3] = [
    (AdapterChoice::Driver, KernelFamily::Auto),
    (AdapterChoice::Driver, KernelFamily::Workgroup),
    (AdapterChoice::Processor, KernelFamily::Auto),
];

/// A device that no other test has.
#[must_use]
pub fn open(adapter: AdapterChoice, kernels: KernelFamily, precision: Precision) -> Device {
    let options = DeviceOptions { adapter, kernels, precision, ..DeviceOptions::default() };
    Device::open(&options).unwrap_or_else(|error| panic!("these tests need an adapter: {error}"))
}

/// A device of the test's own, on which no other test uses memory or fails.
#[must_use]
pub fn open_alone() -> Device {
    open(AdapterChoice::Driver, KernelFamily::Auto, Precision::Auto)
}

/// The processor, likewise.
#[must_use]
pub fn open_processor_alone() -> Device {
    open(AdapterChoice::Processor, KernelFamily::Auto, Precision::Auto)
}

/// The folder of a committed checkpoint.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    clipseg_testing::fixture("models").join(name)
}

/// A committed checkpoint on `device`.
#[must_use]
pub fn load(device: &Device, name: &str) -> ClipSegForImageSegmentation {
    ClipSegForImageSegmentation::from_pretrained(device, fixture(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Random numbers in -1..1, the same for each seed.
#[must_use]
pub fn random(seed: u64, length: usize) -> Vec<f32> {
    Random(seed).values(length)
}

/// `count` texts of `length` token ids of a vocabulary, each ending in its end token.
#[must_use]
pub fn random_ids(seed: u64, count: usize, length: usize, end: u32) -> Vec<u32> {
    let ids = Random(seed).indices(count * length, end as usize).into_iter();
    ids.enumerate().map(|(index, id)| if index % length == length - 1 { end } else { id }).collect()
}
