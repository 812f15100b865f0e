//! What the benches share.

use clipseg_tensor::{Device, DeviceOptions, KernelFamily, Plan};

/// The adapter with one family of kernels, or `None` where it cannot run that one.
#[must_use]
pub fn device(kernels: KernelFamily) -> Option<Device> {
    Device::open(&DeviceOptions { kernels, ..DeviceOptions::default() }).ok()
}

/// Numbers in -1..1 that are never constant: a cache or a branch predictor must not learn them.
#[must_use]
pub fn random(length: usize) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

/// Runs a plan and waits until the device is done, with four bytes read back as proof.
pub fn run_to_end(plan: &Plan, probe: &clipseg_tensor::Tensor) {
    let values = pollster::block_on(plan.run().finish(&[probe]));
    assert!(values.is_ok_and(|values| values[0].values.iter().all(|value| value.is_finite())));
}
