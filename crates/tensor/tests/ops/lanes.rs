//! The kernels on buffers whatever the size of subgroups, as some of them use subgroup operations. The other
//! tests want a device for the subgroup kernels too, so that they run with eight or sixteen lanes alone.

use std::sync::OnceLock;

use clipseg_tensor::{Device, DeviceOptions, KernelFamily};
use proptest::prelude::*;

use super::support::{cases, has_subgroups, ragged};
use super::{attention, matmul, normalise};

/// The workgroup kernels alone.
fn devices() -> &'static [Device] {
    static DEVICE: OnceLock<[Device; 1]> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let kernels = KernelFamily::Workgroup;
        let options = DeviceOptions { kernels, runtime_checks: true, ..DeviceOptions::default() };
        let device = Device::open(&options).expect("these tests need an adapter");
        let is_llvmpipe = device.info().driver == "llvmpipe";
        assert!(!is_llvmpipe || has_subgroups(&device), "the kernels with subgroup operations go untested");
        [device]
    })
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn products_equal_their_twin(case in matmul::any_case()) {
        matmul::check(case);
    }

    #[test]
    fn attention_equals_its_twin(case in attention::any_case()) {
        attention::check_on(devices(), case);
    }

    #[test]
    fn layer_norm_equals_its_twin(case in normalise::any_norm()) {
        normalise::check_norm_on(devices(), case);
    }

    #[test]
    fn softmax_equals_its_twin((rows, columns) in (ragged(), ragged()), seed in any::<u64>()) {
        normalise::check_softmax_on(devices(), [rows, columns], seed);
    }
}

#[test]
fn packed_sequences_attend_to_their_own() {
    attention::check_packed_on(devices());
}
