//! The devices, the inputs and the comparison that the tests share.

use std::sync::OnceLock;

use clipseg_tensor::{
    Activation, AdapterChoice, DType, Device, DeviceOptions, KernelFamily, Recorder, Result, Tensor,
};
use proptest::prelude::*;
use proptest::sample::select;

/// Sizes around those of subgroups, texels and tiles, none but 1 a multiple of any.
pub const RAGGED: [usize; 7] = [1, 3, 7, 17, 33, 65, 129];

/// Every activation.
pub const ACTIVATIONS: [Activation; 6] = [
    Activation::None,
    Activation::QuickGelu,
    Activation::Gelu,
    Activation::GeluNew,
    Activation::Relu,
    Activation::Selu,
];

/// One of the [`RAGGED`] sizes.
pub fn ragged() -> impl Strategy<Value = usize> {
    select(&RAGGED)
}

/// As many cases as a device without a GPU gets through in a second or two.
pub fn cases(cases: u32) -> ProptestConfig {
    // A failing case is printed with all its sizes; a file of seeds would add nothing to that.
    ProptestConfig { cases, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() }
}

/// A device for each kernel family, with naga's runtime checks on, and the processor, which runs the twins'
/// quick forms.
///
/// An adapter may lack subgroups of the size that the subgroup kernels want, and is then tested with the
/// workgroup kernels only. No adapter, or llvmpipe where it was kept from running both, fails the test.
pub fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let open = |kernels| {
            Device::open(&DeviceOptions { kernels, runtime_checks: true, ..DeviceOptions::default() })
        };
        let workgroup = open(KernelFamily::Workgroup).expect("these tests need an adapter");
        let processor = DeviceOptions { adapter: AdapterChoice::Processor, ..DeviceOptions::default() };
        let processor = Device::open(&processor).expect("the processor is always there");
        match open(KernelFamily::Subgroup) {
            Ok(subgroup) => vec![processor, workgroup, subgroup],
            Err(error) if workgroup.info().driver == "llvmpipe" => {
                panic!("the subgroup kernels go untested: {error}")
            }
            Err(error) => {
                eprintln!("only the workgroup kernels are tested: {error}");
                vec![processor, workgroup]
            }
        }
    })
}

/// Another device of the same kind, that no other test has.
pub fn another(device: &Device) -> Device {
    let options = match device.is_processor() {
        true => DeviceOptions { adapter: AdapterChoice::Processor, ..DeviceOptions::default() },
        false => DeviceOptions { kernels: device.kernels(), ..driver() },
    };
    Device::open(&options).expect("what was opened once is there")
}

/// The options of a driver's best adapter.
pub fn driver() -> DeviceOptions {
    DeviceOptions { adapter: AdapterChoice::Driver, ..DeviceOptions::default() }
}

/// Records one op, runs it and reads its output back.
#[track_caller]
pub fn run(device: &Device, record: impl FnOnce(&mut Recorder) -> Result<Tensor>) -> Vec<f32> {
    let mut recorder = Recorder::new(device);
    let output = record(&mut recorder).expect("the op is recorded");
    let output = recorder.output(&output).expect("the output is kept");
    let plan = recorder.finish().expect("the plan is made");
    let arrays = pollster::block_on(plan.run().finish(&[&output])).expect("the plan runs");
    let [array] = arrays.try_into().expect("one output");
    assert_eq!(array.shape, output.shape());
    array.values
}

/// A source of numbers that look random: SplitMix64 (Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Values between -1 and 1.
    pub fn values(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// Values between -1 and 1 that f16 holds exactly, as weights of a checkpoint in f16 are: devices store
    /// these so.
    pub fn halves(&mut self, length: usize) -> Vec<f32> {
        self.values(length).iter().map(|value| (value * 1024.0).round() / 1024.0).collect()
    }

    /// Integers below `bound`.
    pub fn indices(&mut self, length: usize, bound: usize) -> Vec<u32> {
        (0..length).map(|_| (self.next() % bound as u64) as u32).collect()
    }
}

/// Fails unless there are as many values as expected, each within `tolerance` times the largest expected
/// magnitude. That is taken as no less than 1, the magnitude of the inputs: a few sums may all happen to
/// cancel, but not their roundings.
#[track_caller]
pub fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert!(actual.is_empty() || !std::ptr::eq(actual, expected), "a slice was compared with itself");
    assert_eq!(actual.len(), expected.len(), "the lengths differ");
    assert!(expected.iter().all(|value| value.is_finite()), "what is expected is not finite");
    let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    for (place, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let difference = (actual - expected).abs() / largest;
        // A NaN is not close to anything, so the comparison is not to be turned around.
        let close = difference <= tolerance;
        assert!(close, "value {place} is {actual}, expected {expected}: off by {difference:e} of {largest}");
    }
}

/// As [`assert_close`], of values that went through f16: each may besides be one step of a half off, as WGSL
/// leaves adapters the choice between both neighbours, or have become zero where only such a half as is not
/// normal would hold it.
#[track_caller]
pub fn assert_close_in_halves(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "the lengths differ");
    let nearest = |(&actual, &expected): (&f32, &f32)| {
        let step = (expected.abs() / 1024.0).max(1.0 / 16384.0);
        // What is left to explain once a step is forgiven. A NaN stays one.
        let rest = (actual - expected).abs() - step;
        if rest <= 0.0 { expected } else { expected + rest }
    };
    let without_rounding: Vec<_> = actual.iter().zip(expected).map(nearest).collect();
    assert_close(&without_rounding, expected, tolerance);
}

/// [`assert_close`] of what was stored in full, [`assert_close_in_halves`] of what was stored in f16.
#[track_caller]
pub fn assert_close_as(dtype: DType, actual: &[f32], expected: &[f32], tolerance: f32) {
    match dtype {
        DType::F16 => assert_close_in_halves(actual, expected, tolerance),
        _ => assert_close(actual, expected, tolerance),
    }
}

mod tests {
    use super::{assert_close, assert_close_in_halves};

    const EXPECTED: [f32; 3] = [1.0, -100.0, 0.0];

    #[test]
    fn close_values_pass() {
        assert_close(&[1.0009, -99.9991, -0.0009], &EXPECTED, 1e-5);
        assert_close(&[], &[], 1e-5);
    }

    #[test]
    fn values_a_step_of_a_half_off_pass() {
        assert_close_in_halves(&[1.0009, -100.09, 0.00006], &EXPECTED, 1e-6);
        assert_close_in_halves(&[1.0019, -100.09, 0.001], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "value 0 is 1.000")]
    fn a_value_two_steps_of_a_half_off_fails() {
        assert_close_in_halves(&[1.0019, -100.0, 0.0], &EXPECTED, 1e-6);
    }

    #[test]
    #[should_panic(expected = "value 1 is NaN")]
    fn a_nan_in_halves_fails() {
        assert_close_in_halves(&[1.0, f32::NAN, 0.0], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "value 2 is 0.0011")]
    fn a_value_too_far_off_fails() {
        assert_close(&[1.0, -100.0, 0.0011], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "value 0 is NaN")]
    fn a_nan_fails() {
        assert_close(&[f32::NAN, -100.0, 0.0], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "value 1 is -inf")]
    fn an_infinity_fails() {
        assert_close(&[1.0, f32::NEG_INFINITY, 0.0], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "not finite")]
    fn an_expected_nan_fails() {
        assert_close(&[1.0], &[f32::NAN], 1e-5);
    }

    #[test]
    #[should_panic(expected = "the lengths differ")]
    fn a_missing_value_fails() {
        assert_close(&[1.0, -100.0], &EXPECTED, 1e-5);
    }

    #[test]
    #[should_panic(expected = "compared with itself")]
    fn a_slice_against_itself_fails() {
        assert_close(&EXPECTED, &EXPECTED, 1e-5);
    }
}
