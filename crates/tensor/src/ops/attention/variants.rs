//! The kernels of attention as rows of one table.

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{
    attention, attention_cooperative_8, attention_cooperative_8_lanes_32, attention_cooperative_16,
    attention_lanes, attention_subgroup, attention_subgroup_16, attention_vec4,
};

use super::Call;
use crate::Device;
use crate::matrix_units::MatrixSize;
use crate::ops::{ANY_LANES, has_subgroups_of};
use crate::tensor::DType;

/// A kernel for attention, and what it needs. Those on buffers take the same parameters and resources, which
/// a test in the shader crate holds together.
#[derive(Debug)]
pub(super) struct Variant {
    pub kernel: &'static Kernel,
    /// Queries of a workgroup.
    pub queries: u32,
    /// With shorter sequences, another variant comes first.
    pub fewest_tokens: usize,
    /// What the size of a head has to be a multiple of, and the most that it may be.
    pub head_multiple: usize,
    pub max_head_size: usize,
    /// Whether keys may be hidden, by a mask or because they come later.
    pub hides_keys: bool,
    /// Whether its input and its output may be in f16.
    pub takes_f16: bool,
    /// The matrices that it multiplies, where it runs on matrix units. Its input is then in f16.
    pub matrix_units: Option<MatrixSize>,
    /// The values of its overrides.
    pub overrides: fn(&Call<'_>) -> Vec<(&'static str, u32)>,
}

/// Any head that is taken at all, any adapter.
pub(super) static PLAIN: Variant = Variant {
    kernel: &attention::KERNEL,
    queries: attention::QUERIES,
    fewest_tokens: 0,
    head_multiple: 1,
    max_head_size: attention::MAX_HEAD_SIZE as usize,
    hides_keys: true,
    takes_f16: false,
    matrix_units: None,
    overrides: |_| Vec::new(),
};
pub(super) static VEC4: Variant = Variant {
    kernel: &attention_vec4::KERNEL,
    queries: attention_vec4::QUERIES,
    head_multiple: 4,
    max_head_size: attention_vec4::MAX_HEAD_SIZE as usize,
    takes_f16: true,
    overrides: |call| {
        let overrides = attention_vec4::Overrides {
            input_f16: (call.query_key_value.dtype() == DType::F16).into(),
            output_f16: (call.output == DType::F16).into(),
        };
        overrides.values().to_vec()
    },
    ..PLAIN
};
pub(super) static COOPERATIVE_8: Variant = Variant {
    kernel: &attention_cooperative_8::KERNEL,
    queries: attention_cooperative_8::QUERIES,
    max_head_size: attention_cooperative_8::MAX_HEAD_SIZE as usize,
    matrix_units: Some(MatrixSize::Eight),
    overrides: |call| {
        let output_f16 = (call.output == DType::F16).into();
        attention_cooperative_8::Overrides { output_f16 }.values().to_vec()
    },
    ..VEC4
};
pub(super) static COOPERATIVE_8_LANES_32: Variant = Variant {
    kernel: &attention_cooperative_8_lanes_32::KERNEL,
    queries: attention_cooperative_8_lanes_32::QUERIES,
    max_head_size: attention_cooperative_8_lanes_32::MAX_HEAD_SIZE as usize,
    matrix_units: Some(MatrixSize::EightOf32Lanes),
    ..COOPERATIVE_8
};
pub(super) static COOPERATIVE_16: Variant = Variant {
    kernel: &attention_cooperative_16::KERNEL,
    queries: attention_cooperative_16::QUERIES,
    max_head_size: attention_cooperative_16::MAX_HEAD_SIZE as usize,
    matrix_units: Some(MatrixSize::Sixteen),
    ..COOPERATIVE_8
};
/// On textures, where the device runs the subgroup kernels.
pub(super) static SUBGROUP: Variant = Variant {
    kernel: &attention_subgroup::KERNEL,
    queries: attention_subgroup::ROWS,
    head_multiple: 4,
    max_head_size: attention_subgroup::MAX_HEAD_SIZE as usize,
    overrides: |call| {
        let (texels, lanes) = (call.sizes.head_size as u32 / 4, call.lanes);
        let share_lanes = texels.next_power_of_two().min(lanes);
        attention_subgroup::Overrides { texels, share_lanes, lanes }.values().to_vec()
    },
    ..PLAIN
};
/// In subgroups of any size.
pub(super) static LANES: Variant = Variant {
    kernel: &attention_lanes::KERNEL,
    queries: attention_lanes::QUERIES,
    max_head_size: attention_lanes::MAX_HEAD_SIZE as usize,
    overrides: |call| {
        let overrides = attention_lanes::Overrides {
            input_f16: (call.query_key_value.dtype() == DType::F16).into(),
            output_f16: (call.output == DType::F16).into(),
        };
        overrides.values().to_vec()
    },
    ..VEC4
};

/// Mesa 22.3 takes 0.25 s longer to compile it; with 485 tokens it takes three quarters of the time. It hides
/// no keys: the model's long sequences are images, and the masks alone took up to a quarter of its time.
pub(super) static SUBGROUP_16: Variant = Variant {
    kernel: &attention_subgroup_16::KERNEL,
    queries: attention_subgroup_16::ROWS,
    fewest_tokens: 256,
    hides_keys: attention_subgroup_16::HIDES_KEYS != 0,
    ..SUBGROUP
};

/// Every variant. The first that takes a call is its default; those after it serve where they were measured
/// to be faster.
static VARIANTS: [&Variant; 8] = [
    &COOPERATIVE_16,
    &COOPERATIVE_8_LANES_32,
    &COOPERATIVE_8,
    &SUBGROUP_16,
    &SUBGROUP,
    &VEC4,
    &PLAIN,
    &LANES,
];

impl Variant {
    pub fn fits(&self, head_size: usize) -> bool {
        head_size <= self.max_head_size && head_size.is_multiple_of(self.head_multiple)
    }

    /// Whether it can compute `call` on `device`.
    fn takes(&self, device: &Device, call: &Call<'_>) -> bool {
        let input = call.query_key_value.dtype();
        let is_f16 = [input, call.output].contains(&DType::F16);
        self.fits(call.sizes.head_size)
            && (self.takes_f16 || !is_f16)
            && (self.hides_keys || !call.mask.hides_keys())
            && match self.matrix_units {
                Some(_) => input == DType::F16 && device.matrix_units() == self.matrix_units,
                None if self.kernel.binds_textures() => call.lanes > 0,
                None => {
                    (!self.takes_f16 || device.supports_unpack2x16float())
                        && (!self.kernel.uses_subgroups || has_subgroups_of(device, self.kernel, ANY_LANES))
                }
            }
    }
}

/// The variants that take a call, the default first.
pub(super) fn candidates(device: &Device, call: &Call<'_>) -> Vec<&'static Variant> {
    let mut variants: Vec<_> = VARIANTS.into_iter().filter(|variant| variant.takes(device, call)).collect();
    variants.sort_by_key(|variant| call.sizes.max_seqlen < variant.fewest_tokens);
    variants
}
