//! The devices, the inputs and the comparison that the tests share.

use std::env;
use std::sync::OnceLock;

use clipseg_tensor::{
    Activation, AdapterChoice, DType, Device, DeviceOptions, KernelFamily, LLVMPIPE_WIDTH_VARIABLE, Recorder,
    Result, Tensor,
};
use clipseg_testing::assert_close_at_scale;
pub use clipseg_testing::{Random, assert_close_in_f16};
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
/// workgroup kernels only. No adapter, or llvmpipe where it was kept from running both, fails the test:
/// unless it was told to have vectors of 128 bits, which are four lanes.
pub fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let open = |kernels| {
            Device::open(&DeviceOptions { kernels, runtime_checks: true, ..DeviceOptions::default() })
        };
        let workgroup = open(KernelFamily::Workgroup).expect("these tests need an adapter");
        let processor = DeviceOptions { adapter: AdapterChoice::Processor, ..DeviceOptions::default() };
        let processor = Device::open(&processor).expect("the processor is always there");
        let has_four_lanes = env::var_os(LLVMPIPE_WIDTH_VARIABLE).is_some_and(|width| width == "128");
        match open(KernelFamily::Subgroup) {
            Ok(subgroup) => vec![processor, workgroup, subgroup],
            Err(error) if workgroup.info().driver == "llvmpipe" && !has_four_lanes => {
                panic!("the subgroup kernels go untested: {error}")
            }
            Err(error) => {
                eprintln!("only the workgroup kernels are tested: {error}");
                vec![processor, workgroup]
            }
        }
    })
}

/// Whether kernels on a device's buffers may use subgroup operations.
pub fn has_subgroups(device: &Device) -> bool {
    pollster::block_on(device.adapter_report()).is_some_and(|report| report.subgroups)
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

/// [`clipseg_testing::assert_close_at_scale`] for inputs of magnitude 1.
#[track_caller]
pub fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_close_at_scale(actual, expected, tolerance, 1.0);
}

/// [`assert_close`] of what was stored in full, [`assert_close_in_f16`] of what was stored in f16.
#[track_caller]
pub fn assert_close_as(dtype: DType, actual: &[f32], expected: &[f32], tolerance: f32) {
    match dtype {
        DType::F16 => assert_close_in_f16(actual, expected, tolerance),
        _ => assert_close(actual, expected, tolerance),
    }
}
