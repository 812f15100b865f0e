//! What the tuner measures the kernels of softmax on: random rows.

use clipseg_shaders::Kernel;

use super::{Call, PLAIN, Variant};
use crate::ops::choice::{Tunable, noise, representative_rows};
use crate::{Device, Recorder, Result, Tensor};

impl Tunable for Call<'_> {
    type Variant = Variant;
    type Others = ();

    fn kernel(variant: &Variant) -> &'static Kernel {
        variant.kernel
    }

    fn title(&self) -> String {
        let [rows, columns] = representative_rows(self.input);
        format!("softmax {rows}x{columns}")
    }

    fn reference(&self) -> &'static Variant {
        &PLAIN
    }

    fn rounds_to_f16(&self, _: &Variant) -> bool {
        false
    }

    fn operands(&self, device: &Device) -> Result<(Tensor, ())> {
        let shape = representative_rows(self.input);
        Ok((device.upload(&shape, &noise(shape.iter().product()))?, ()))
    }

    fn record(&self, recorder: &mut Recorder, variant: &Variant, input: &Tensor, (): &()) -> Result<Tensor> {
        recorder.softmax_with(variant, &Call { input })
    }
}

#[cfg(test)]
mod tests {
    use super::super::LANES;
    use super::*;
    use crate::ops::choice::fastest;
    use crate::{DeviceOptions, KernelFamily};

    #[test]
    fn a_variant_with_wrong_numbers_is_rejected() {
        let options = DeviceOptions { kernels: KernelFamily::Workgroup, ..DeviceOptions::default() };
        let device = Device::open(&options).expect("this test needs an adapter");
        let input = device.upload(&[100, 68], &noise(100 * 68)).unwrap();
        let fastest_of = |candidates: &[&Variant]| fastest(&device, &Call { input: &input }, candidates);
        if LANES.runs(&device) {
            // Writes a quarter of the rows, and is the faster for it.
            let wrong = Variant { rows: 4 * LANES.rows, ..LANES };
            assert_eq!(fastest_of(&[&wrong, &PLAIN, &wrong]).unwrap(), 1);
            assert_eq!(fastest_of(&[&wrong, &LANES]).unwrap(), 1);
            assert!(fastest_of(&[&wrong]).is_err());
        }
    }
}
