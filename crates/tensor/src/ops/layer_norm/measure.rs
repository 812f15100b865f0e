//! What the tuner measures the kernels of layer norm on: random rows by the layer's own weight.

use clipseg_shaders::Kernel;

use super::{Call, PLAIN, VEC4, Variant};
use crate::ops::choice::{Tunable, noise, representative_rows};
use crate::tensor::DType;
use crate::{Device, Recorder, Result, Tensor};

impl Tunable for Call<'_> {
    type Variant = Variant;
    type Others = ();

    fn kernel(variant: &Variant) -> &'static Kernel {
        variant.kernel
    }

    fn title(&self) -> String {
        let [rows, columns] = representative_rows(self.input);
        format!("layer_norm {rows}x{columns}{}", if self.output == DType::F16 { " to f16" } else { "" })
    }

    fn reference(&self) -> &'static Variant {
        if self.output == DType::F16 { &VEC4 } else { &PLAIN }
    }

    fn rounds_to_f16(&self, _: &Variant) -> bool {
        self.output == DType::F16
    }

    fn operands(&self, device: &Device) -> Result<(Tensor, ())> {
        let shape = representative_rows(self.input);
        Ok((device.upload(&shape, &noise(shape.iter().product()))?, ()))
    }

    fn record(&self, recorder: &mut Recorder, variant: &Variant, input: &Tensor, (): &()) -> Result<Tensor> {
        recorder.layer_norm_with(variant, &Call { input, ..*self })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LayerNorm, SUBGROUP, layer_norm_call};
    use super::*;
    use crate::ops::choice::fastest;
    use crate::{DeviceOptions, KernelFamily};

    fn open(kernels: KernelFamily) -> Option<Device> {
        Device::open(&DeviceOptions { kernels, ..DeviceOptions::default() }).ok()
    }

    fn fastest_of(device: &Device, candidates: &[&Variant]) -> Result<usize> {
        let layer = LayerNorm::new(device, &noise(68), &noise(68), 1e-5).unwrap();
        let input = device.upload(&[100, 68], &noise(100 * 68)).unwrap();
        fastest(device, &layer_norm_call(DType::F32, &input, &layer).unwrap(), candidates)
    }

    #[test]
    fn a_variant_with_wrong_numbers_is_rejected() {
        let device = open(KernelFamily::Workgroup).expect("this test needs an adapter");
        // Writes a quarter of the rows, and is the faster for it.
        let wrong = Variant { rows: 4, ..VEC4 };
        assert_eq!(fastest_of(&device, &[&wrong, &PLAIN, &wrong]).unwrap(), 1);
        assert!(fastest_of(&device, &[&wrong, &VEC4, &PLAIN]).unwrap() > 0);
        assert!(fastest_of(&device, &[&wrong]).is_err());
    }

    #[test]
    fn a_subgroup_kernel_with_wrong_numbers_is_rejected() {
        let Some(device) = open(KernelFamily::Subgroup) else {
            eprintln!("no adapter here runs the subgroup kernels");
            return;
        };
        let wrong = Variant { rows: 4 * SUBGROUP.rows, ..SUBGROUP };
        assert_eq!(fastest_of(&device, &[&wrong, &SUBGROUP]).unwrap(), 1);
        assert!(fastest_of(&device, &[&wrong, &SUBGROUP, &VEC4, &PLAIN]).unwrap() > 0);
    }
}
