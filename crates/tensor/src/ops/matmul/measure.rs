//! What the tuner measures the kernels of products on: random inputs by the layer's own weight.

use clipseg_shaders::Kernel;

use super::{FALLBACK, Operands, PACKED_F16, Problem, Variant};
use crate::ops::choice::{MOST_ROWS, Tunable, noise, upload_as};
use crate::tensor::DType;
use crate::{Device, Recorder, Result, Tensor};

/// The problem whose measurement speaks for `problem`: of rows up to a power of two.
fn representative(problem: &Problem) -> Problem {
    Problem { rows: problem.rows.next_power_of_two().min(MOST_ROWS), ..*problem }
}

impl Tunable for Operands<'_> {
    type Variant = Variant;
    /// The residual, where there is one.
    type Others = Option<Tensor>;

    fn kernel(variant: &Variant) -> &'static Kernel {
        variant.kernel
    }

    fn title(&self) -> String {
        let problem = representative(&self.problem());
        let Problem { rows, columns, inner, weight, input, output, activation, has_bias, has_residual } =
            problem;
        let bias = if has_bias { " bias" } else { "" };
        let residual = if has_residual { " residual" } else { "" };
        let from = if input == DType::F16 { " from f16" } else { "" };
        let to = if output == DType::F16 { " to f16" } else { "" };
        format!("matmul {rows}x{columns}x{inner} {weight:?}{bias} {activation:?}{residual}{from}{to}")
    }

    fn reference(&self) -> &'static Variant {
        if self.weight.is_f16() { &PACKED_F16 } else { &FALLBACK }
    }

    fn rounds_to_f16(&self, _: &Variant) -> bool {
        self.output == DType::F16
    }

    fn operands(&self, device: &Device) -> Result<(Tensor, Option<Tensor>)> {
        let Problem { rows, columns, inner, input, has_residual, .. } = representative(&self.problem());
        let residual = has_residual.then(|| device.upload(&[rows, columns], &noise(rows * columns)));
        Ok((upload_as(input, device, &[rows, inner], &noise(rows * inner))?, residual.transpose()?))
    }

    fn record(
        &self,
        recorder: &mut Recorder,
        variant: &Variant,
        input: &Tensor,
        residual: &Option<Tensor>,
    ) -> Result<Tensor> {
        let operands = Operands { input, residual: residual.as_ref(), ..*self };
        let Problem { rows, columns, .. } = operands.problem();
        recorder.matmul_with(variant, &operands, &[rows, columns])
    }
}

#[cfg(test)]
mod tests {
    use clipseg_shaders::Activation;

    use super::super::{BROADCAST, RowWeight, SKINNY_PACKED_F16, VEC4};
    use super::*;
    use crate::ops::choice::fastest;
    use crate::{DeviceOptions, KernelFamily, Precision};

    /// With the input and the output as `dtype`.
    fn fastest_of(candidates: &[&Variant], precision: Precision, dtype: DType) -> Result<usize> {
        let options =
            DeviceOptions { kernels: KernelFamily::Workgroup, precision, ..DeviceOptions::default() };
        let device = Device::open(&options).expect("this test needs an adapter");
        let weight = RowWeight::upload(&device, 8, 12, &noise(96)).unwrap();
        let input = upload_as(dtype, &device, &[256, 12], &noise(256 * 12)).unwrap();
        let residual = device.upload(&[256, 8], &noise(256 * 8)).unwrap();
        let operands = Operands {
            input: &input,
            weight: &weight,
            bias: None,
            residual: Some(&residual),
            activation: Activation::Relu,
            output: dtype,
        };
        fastest(&device, &operands, candidates)
    }

    /// Writes a quarter of the rows, and is the faster for it.
    static WRONG: Variant = Variant { tile: [256, 256], ..VEC4 };

    #[test]
    fn a_variant_with_wrong_numbers_is_rejected() {
        assert_eq!(fastest_of(&[&WRONG, &FALLBACK, &WRONG], Precision::F32, DType::F32).unwrap(), 1);
        let message = fastest_of(&[&WRONG], Precision::F32, DType::F32).unwrap_err().to_string();
        assert!(message.contains("no kernel runs and is right"), "{message}");
    }

    #[test]
    fn right_ones_are_timed() {
        let place = fastest_of(&[&VEC4, &FALLBACK, &BROADCAST], Precision::F32, DType::F32).unwrap();
        assert!(place < 3);
        // Those that read f16 values have a reference of their own; a number of another would be wrong.
        let wrong = Variant { tile: WRONG.tile, ..SKINNY_PACKED_F16 };
        for dtype in [DType::F32, DType::F16] {
            assert!(
                fastest_of(&[&wrong, &PACKED_F16, &SKINNY_PACKED_F16], Precision::F16, dtype).unwrap() > 0
            );
        }
    }
}
