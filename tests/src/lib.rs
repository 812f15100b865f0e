//! What the whole-engine tests share: a device for each family of kernels and the processor, and inputs that
//! are random, never constant.

pub mod host;

use std::path::PathBuf;
use std::sync::LazyLock;

use clipseg::{AdapterChoice, ClipSegForImageSegmentation, Device, DeviceOptions, KernelFamily, Precision};

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
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/models")).join(name)
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
    integers(seed, length).map(|bits| (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

/// `count` texts of `length` token ids of a vocabulary, each ending in its end token.
#[must_use]
pub fn random_ids(seed: u64, count: usize, length: usize, end: u32) -> Vec<u32> {
    let ids = integers(seed, count * length).map(|bits| (bits >> 33) as u32 % end);
    ids.enumerate().map(|(place, id)| if place % length == length - 1 { end } else { id }).collect()
}

/// splitmix64
fn integers(seed: u64, length: usize) -> impl Iterator<Item = u64> {
    (1..=length as u64).map(move |place| {
        let mut bits = (seed ^ 0x5DEE_CE66_D1CE_4E5B).wrapping_add(place.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    })
}

/// Panics unless both have one length and differ by at most `tolerance` of the largest magnitude expected.
#[track_caller]
pub fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "lengths differ");
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        // Written so that a NaN fails.
        let close = (found - expected).abs() <= tolerance * largest;
        assert!(close, "at {place}: {found}, expected {expected} (largest {largest}, tolerance {tolerance})");
    }
}
