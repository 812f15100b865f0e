//! What the tuner measures the kernels of attention on: random queries, keys, values and masks.

use clipseg_shaders::Kernel;

use super::variants::{PLAIN, VEC4, Variant};
use super::{AttentionMask, Call, Packing, Sizes};
use crate::ops::choice::{MOST_ROWS, Tunable, noise, upload_as};
use crate::tensor::DType;
use crate::{Device, Recorder, Result, Tensor};

/// Sequences of more tokens are taken to be like those of this many: the work grows with the square.
const MOST_TOKENS: usize = 1024;
/// What random numbers are multiplied by, so that some scores are far larger than others.
const SPREAD: f32 = 3.0;

/// The sizes whose measurement speaks for `sizes`: powers of two.
fn representative(sizes: &Sizes, is_packed: bool) -> Sizes {
    let up = usize::next_power_of_two;
    if is_packed {
        // Each of the sequences has a token at least, and all rows are some sequence's.
        let tokens = up(sizes.tokens.max(sizes.sequences)).min(MOST_ROWS);
        let sequences = up(sizes.sequences).min(tokens);
        let max_seqlen = up(sizes.max_seqlen).clamp(tokens / sequences, tokens);
        return Sizes { tokens, sequences, max_seqlen, ..*sizes };
    }
    let tokens = up(sizes.tokens).min(MOST_TOKENS);
    let batch = up(sizes.batch).min(MOST_ROWS / tokens);
    Sizes { batch, tokens, sequences: batch, max_seqlen: tokens, ..*sizes }
}

impl Call<'_> {
    fn representative(&self) -> Sizes {
        representative(&self.sizes, self.mask.packing.is_some())
    }
}

/// A mask of keys and starts of sequences, where the call has such.
pub(super) struct Masks {
    key_padding_mask: Option<Tensor>,
    cu_seqlens: Option<Tensor>,
}

impl Tunable for Call<'_> {
    type Variant = Variant;
    type Others = Masks;

    fn kernel(variant: &Variant) -> &'static Kernel {
        variant.kernel
    }

    fn title(&self) -> String {
        let Sizes { batch, tokens, sequences, max_seqlen, heads, head_size } = self.representative();
        let packed = match self.mask.packing {
            Some(_) => format!(" in {sequences} of {max_seqlen}"),
            None => String::new(),
        };
        let causal = if self.mask.causal { " causal" } else { "" };
        let masked = if self.mask.key_padding_mask.is_some() { " masked" } else { "" };
        let from = if self.query_key_value.dtype() == DType::F16 { " from f16" } else { "" };
        let to = if self.output == DType::F16 { " to f16" } else { "" };
        format!("attention {batch}x{tokens}{packed} {heads}x{head_size}{causal}{masked}{from}{to}")
    }

    fn reference(&self) -> &'static Variant {
        let is_f16 = [self.query_key_value.dtype(), self.output].contains(&DType::F16);
        if is_f16 { &VEC4 } else { &PLAIN }
    }

    fn rounds_to_f16(&self, variant: &Variant) -> bool {
        // Matrix units take the probabilities in f16.
        self.output == DType::F16 || variant.matrix_units.is_some()
    }

    fn operands(&self, device: &Device) -> Result<(Tensor, Masks)> {
        let Sizes { batch, tokens, sequences, heads, head_size, .. } = self.representative();
        let shape = [batch, tokens, 3 * heads * head_size];
        let mut values = noise(shape.iter().product());
        values.iter_mut().for_each(|value| *value *= SPREAD);
        let input = upload_as(self.query_key_value.dtype(), device, &shape, &values)?;
        let key_padding_mask = self.mask.key_padding_mask.map(|_| {
            let kept: Vec<_> = noise(batch * tokens).iter().map(|value| u32::from(*value > 0.0)).collect();
            device.upload_u32(&[batch, tokens], &kept)
        });
        let cu_seqlens = self.mask.packing.map(|_| {
            let starts: Vec<_> = (0..=sequences).map(|place| (place * tokens / sequences) as u32).collect();
            device.upload_u32(&[sequences + 1], &starts)
        });
        let key_padding_mask = key_padding_mask.transpose()?;
        Ok((input, Masks { key_padding_mask, cu_seqlens: cu_seqlens.transpose()? }))
    }

    fn record(
        &self,
        recorder: &mut Recorder,
        variant: &Variant,
        input: &Tensor,
        others: &Masks,
    ) -> Result<Tensor> {
        let sizes = self.representative();
        let packing = others.cu_seqlens.as_ref();
        let packing =
            packing.map(|cu_seqlens| Packing { cu_seqlens, max_seqlen: sizes.max_seqlen, shared: None });
        let key_padding_mask = others.key_padding_mask.as_ref();
        let mask = AttentionMask { causal: self.mask.causal, key_padding_mask, packing };
        recorder.attention_with(variant, &Call { query_key_value: input, sizes, mask: &mask, ..*self })
    }
}

#[cfg(test)]
mod tests {
    use super::super::variants::{COOPERATIVE_8, COOPERATIVE_8_LANES_32, COOPERATIVE_16, SUBGROUP};
    use super::*;
    use crate::ops::choice::fastest;
    use crate::{DeviceOptions, KernelFamily, MatrixUnits, Precision};

    fn open(kernels: KernelFamily, matrix_units: MatrixUnits) -> Option<Device> {
        let precision = match matrix_units {
            MatrixUnits::Off => Precision::F32,
            _ => Precision::F16,
        };
        Device::open(&DeviceOptions { kernels, matrix_units, precision, ..DeviceOptions::default() }).ok()
    }

    fn workgroup() -> Device {
        open(KernelFamily::Workgroup, MatrixUnits::Off).expect("this test needs an adapter")
    }

    /// On `shape`, with the input and the output as `dtype`, with each mask.
    fn fastest_of(device: &Device, dtype: DType, candidates: &[&Variant]) -> Vec<usize> {
        let shape = [1, 400, 3 * 2 * 16];
        let input = upload_as(dtype, device, &shape, &noise(shape.iter().product())).unwrap();
        let kept = device.upload_u32(&[1, 400], &[1; 400]).unwrap();
        let cu_seqlens = device.upload_u32(&[4], &[0, 50, 275, 398]).unwrap();
        let packing = Some(Packing { cu_seqlens: &cu_seqlens, max_seqlen: 256, shared: None });
        let none = AttentionMask::default();
        let masks = [
            none,
            AttentionMask { causal: true, key_padding_mask: Some(&kept), ..none },
            AttentionMask { causal: true, packing, ..none },
        ];
        let fastest_with = |mask: &AttentionMask<'_>| {
            let call = Recorder::new(device).attention_call(dtype, &input, 2, mask).unwrap();
            fastest(device, &call, candidates).unwrap()
        };
        masks.iter().map(fastest_with).collect()
    }

    /// Writes a quarter of the queries, and is the faster for it.
    static WRONG: Variant = Variant { queries: 4 * 32, ..VEC4 };

    #[test]
    fn a_variant_with_wrong_numbers_is_rejected() {
        let device = workgroup();
        assert_eq!(fastest_of(&device, DType::F32, &[&WRONG, &PLAIN, &WRONG]), [1; 3]);
        let places = fastest_of(&device, DType::F32, &[&WRONG, &VEC4, &PLAIN]);
        assert!(places.iter().all(|&place| place > 0), "{places:?}");
    }

    #[test]
    fn a_subgroup_kernel_with_wrong_numbers_is_rejected() {
        let Some(device) = open(KernelFamily::Subgroup, MatrixUnits::Off) else {
            eprintln!("no adapter here runs the subgroup kernels");
            return;
        };
        let wrong = Variant { queries: 4 * SUBGROUP.queries, ..SUBGROUP };
        let places = fastest_of(&device, DType::F32, &[&wrong, &SUBGROUP, &VEC4, &PLAIN]);
        assert!(places.iter().all(|&place| place > 0), "{places:?}");
        assert_eq!(fastest_of(&device, DType::F32, &[&wrong, &SUBGROUP]), [1; 3]);
    }

    #[test]
    fn what_matrix_units_round_is_not_taken_for_wrong() {
        let Some(device) = open(KernelFamily::Workgroup, MatrixUnits::Any) else {
            eprintln!("no adapter here has matrix units");
            return;
        };
        let all = [&COOPERATIVE_8, &COOPERATIVE_8_LANES_32, &COOPERATIVE_16];
        let variant = all.into_iter().find(|variant| variant.matrix_units == device.matrix_units());
        let variant = variant.expect("a kernel for each size of matrices");
        let wrong = Variant { queries: 4 * variant.queries, ..*variant };
        assert_eq!(fastest_of(&device, DType::F16, &[&wrong, variant]), [1; 3]);
    }

    #[test]
    fn sizes_are_measured_as_powers_of_two() {
        let sizes = Sizes { batch: 3, tokens: 485, sequences: 3, max_seqlen: 485, heads: 12, head_size: 64 };
        let of_images = representative(&sizes, false);
        assert_eq!([of_images.batch, of_images.tokens, of_images.max_seqlen], [4, 512, 512]);
        let many = representative(&Sizes { batch: 99, tokens: 5000, ..sizes }, false);
        assert_eq!([many.batch, many.tokens, many.sequences], [4, 1024, 4]);
        let packed = Sizes { batch: 1, tokens: 40, sequences: 5, max_seqlen: 16, ..sizes };
        let of_texts = representative(&packed, true);
        assert_eq!([of_texts.tokens, of_texts.sequences, of_texts.max_seqlen], [64, 8, 16]);
        // No sequence is empty, and none is longer than the longest.
        let short = representative(&Sizes { tokens: 8, sequences: 9000, max_seqlen: 1, ..packed }, true);
        assert_eq!([short.tokens, short.sequences, short.max_seqlen], [4096, 4096, 1]);
        let long = representative(&Sizes { tokens: 100, sequences: 2, max_seqlen: 16, ..packed }, true);
        assert_eq!([long.tokens, long.sequences, long.max_seqlen], [128, 2, 64]);
    }
}
