use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{
    attention, attention_cooperative_8, attention_cooperative_16, attention_scores, attention_subgroup,
    attention_vec4,
};

use super::activation_dtype::expect_floats;
use super::{expect_shape, shape_error};
use crate::matrix_units::MatrixSize;
use crate::tensor::DType;
use crate::{Recorder, Result, Tensor};

/// A kernel on buffers, and what it needs. All take the same parameters and resources, which a test in the
/// shader crate holds together.
struct Variant {
    kernel: &'static Kernel,
    /// Queries of a workgroup.
    queries: u32,
    /// What the size of a head has to be a multiple of, and the most that it may be.
    head_multiple: usize,
    max_head_size: usize,
    /// The values of its overrides, by the elements of the input and the output.
    overrides: fn([DType; 2]) -> Vec<(&'static str, u32)>,
}

/// Any head that is taken at all, any adapter.
static PLAIN: Variant = Variant {
    kernel: &attention::KERNEL,
    queries: attention::QUERIES,
    head_multiple: 1,
    max_head_size: attention::MAX_HEAD_SIZE as usize,
    overrides: |_| Vec::new(),
};
static VEC4: Variant = Variant {
    kernel: &attention_vec4::KERNEL,
    queries: attention_vec4::QUERIES,
    head_multiple: 4,
    max_head_size: attention_vec4::MAX_HEAD_SIZE as usize,
    overrides: |[input, output]| {
        let overrides = attention_vec4::Overrides {
            input_f16: (input == DType::F16).into(),
            output_f16: (output == DType::F16).into(),
        };
        overrides.values().to_vec()
    },
};
static COOPERATIVE_8: Variant = Variant {
    kernel: &attention_cooperative_8::KERNEL,
    queries: attention_cooperative_8::QUERIES,
    head_multiple: 4,
    max_head_size: attention_cooperative_8::MAX_HEAD_SIZE as usize,
    overrides: |[_, output]| {
        attention_cooperative_8::Overrides { output_f16: (output == DType::F16).into() }.values().to_vec()
    },
};
static COOPERATIVE_16: Variant = Variant {
    kernel: &attention_cooperative_16::KERNEL,
    queries: attention_cooperative_16::QUERIES,
    max_head_size: attention_cooperative_16::MAX_HEAD_SIZE as usize,
    ..COOPERATIVE_8
};

impl Variant {
    /// The one that multiplies matrices of a size, on matrix units. Its input is in f16.
    fn cooperative(matrix: MatrixSize) -> &'static Self {
        match matrix {
            MatrixSize::Eight => &COOPERATIVE_8,
            MatrixSize::Sixteen => &COOPERATIVE_16,
        }
    }

    fn takes(&self, head_size: usize) -> bool {
        head_size <= self.max_head_size && head_size.is_multiple_of(self.head_multiple)
    }
}

/// Which keys a query may look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionMask<'a> {
    /// Only keys up to the query's own position.
    pub causal: bool,
    /// `[batch, tokens]` of `u32`, 0 for a key to be left out.
    pub key_padding_mask: Option<&'a Tensor>,
    /// Only keys of the query's own sequence, where a batch of one holds several, one behind the other.
    pub packing: Option<Packing<'a>>,
}

/// Where the sequences lie that a batch of one holds, as FlashAttention's varlen functions take them. Rows
/// beyond the last are not looked at, and their output is undefined.
#[derive(Clone, Copy, Debug)]
pub struct Packing<'a> {
    /// `[sequences + 1]` of `u32`, rising: the row that each starts with, and the one after the last. The
    /// device cannot refuse what is beyond the rows; it takes that for their end.
    pub cu_seqlens: &'a Tensor,
    /// No sequence is longer.
    pub max_seqlen: usize,
}

/// The sizes of a fused query-key-value tensor `[batch, tokens, 3 · heads · head_size]`.
struct Sizes {
    batch: usize,
    tokens: usize,
    /// The number of sequences, and the tokens of the longest.
    sequences: usize,
    max_seqlen: usize,
    heads: usize,
    head_size: usize,
}

impl Sizes {
    fn of(query_key_value: &Tensor, heads: usize, mask: &AttentionMask<'_>) -> Result<Self> {
        let &[batch, tokens, width] = query_key_value.shape() else {
            return shape_error(
                "attention",
                format!("{query_key_value:?}, expected [batch, tokens, 3 · width]"),
            );
        };
        if heads == 0 || width % (3 * heads) != 0 || !PLAIN.takes(width / (3 * heads)) {
            let reason = format!(
                "{query_key_value:?} for {heads} heads, expected 3 · heads · (at most {}) columns",
                PLAIN.max_head_size
            );
            return shape_error("attention", reason);
        }
        if let Some(key_padding_mask) = mask.key_padding_mask {
            expect_shape("attention", "the key padding mask", key_padding_mask, &[batch, tokens])?;
        }
        let (sequences, max_seqlen) = match mask.packing {
            None => (batch, tokens),
            Some(Packing { cu_seqlens, max_seqlen }) if batch == 1 && cu_seqlens.len() > 1 => {
                (cu_seqlens.len() - 1, max_seqlen.min(tokens))
            }
            Some(packing) => {
                return shape_error("attention", format!("{query_key_value:?} packed as {packing:?}"));
            }
        };
        Ok(Self { batch, tokens, sequences, max_seqlen, heads, head_size: width / (3 * heads) })
    }

    /// Operations of the product of queries and keys, over the pairs that may see each other; values take as
    /// many. Packed sequences count as if all were as long as the longest may be.
    fn product_flops(&self, mask: &AttentionMask<'_>) -> u64 {
        let pairs =
            if mask.causal { self.max_seqlen * (self.max_seqlen + 1) / 2 } else { self.max_seqlen.pow(2) };
        2 * (self.sequences * self.heads * pairs * self.head_size) as u64
    }

    fn scale(&self) -> f32 {
        (self.head_size as f32).powf(-0.5)
    }
}

/// Whether the vec4 and subgroup kernels support heads of this size. Of the workgroup kernels only the vec4
/// one supports f16.
pub(crate) fn heads_fit_vectors(head_size: usize) -> bool {
    const _: () = assert!(attention_subgroup::MAX_HEAD_SIZE == attention_vec4::MAX_HEAD_SIZE);
    VEC4.takes(head_size)
}

impl Recorder {
    /// Multi-head attention over fused queries, keys and values `[batch, tokens, 3 · heads · head_size]`, in
    /// that order: `softmax(query · keyᵀ / √head_size) · value`, `[batch, tokens, heads · head_size]`. No
    /// score reaches memory.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit or a head has more than 128 values.
    pub fn attention(
        &mut self,
        query_key_value: &Tensor,
        heads: usize,
        mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        self.attention_as(DType::F32, query_key_value, heads, mask)
    }

    /// As [`attention`](Self::attention), stored as `dtype`; queries, keys and values may be in f16.
    ///
    /// # Errors
    /// As [`attention`](Self::attention), and when either is in f16 but the size of a head is not a multiple
    /// of four up to 64.
    pub fn attention_as(
        &mut self,
        dtype: DType,
        query_key_value: &Tensor,
        heads: usize,
        mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        expect_floats("attention", dtype)?;
        let sizes = Sizes::of(query_key_value, heads, mask)?;
        let in_full = [query_key_value.dtype(), dtype] == [DType::F32; 2];
        let fit_vectors = heads_fit_vectors(sizes.head_size);
        let cooperative = self.device().matrix_units().map(Variant::cooperative);
        let variant = match cooperative.filter(|variant| variant.takes(sizes.head_size)) {
            Some(cooperative) if query_key_value.dtype() == DType::F16 => cooperative,
            _ => match self.device().lanes() {
                Some(lanes) if fit_vectors && in_full => {
                    return self.attention_subgroup(query_key_value, &sizes, mask, lanes);
                }
                _ if fit_vectors && self.device().supports_unpack2x16float() => &VEC4,
                _ => &PLAIN,
            },
        };
        self.attention_by(variant, dtype, query_key_value, &sizes, mask)
    }

    /// The probabilities that [`attention`](Self::attention) weighs values with,
    /// `[batch, heads, tokens, tokens]`.
    ///
    /// # Errors
    /// As [`attention`](Self::attention).
    pub fn attention_probabilities(
        &mut self,
        query_key_value: &Tensor,
        heads: usize,
        mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        let sizes = Sizes::of(query_key_value, heads, mask)?;
        if mask.packing.is_some() {
            return shape_error("attention_probabilities", "packed sequences have none".to_owned());
        }
        let scores = self.allocate(&[sizes.batch, heads, sizes.tokens, sizes.tokens], DType::F32)?;
        let params = attention_scores::Params {
            images: sizes.batch as u32,
            tokens: sizes.tokens as u32,
            heads: heads as u32,
            head_size: sizes.head_size as u32,
            causal: mask.causal.into(),
            has_mask: mask.key_padding_mask.is_some().into(),
            scale: sizes.scale(),
        };
        // A third of the columns, the values, is not looked at.
        let query_key = self.buffer(query_key_value)?.with_bytes(query_key_value.bytes() / 3 * 2);
        let resources = vec![query_key, self.buffer_or_empty(mask.key_padding_mask)?, self.buffer(&scores)?];
        let flops = sizes.product_flops(mask);
        self.dispatch_1d(&attention_scores::KERNEL, &[], params, resources, scores.len(), flops)?;
        self.softmax(&scores)
    }

    fn attention_by(
        &mut self,
        variant: &Variant,
        dtype: DType,
        query_key_value: &Tensor,
        sizes: &Sizes,
        mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        let output = self.allocate(&[sizes.batch, sizes.tokens, sizes.heads * sizes.head_size], dtype)?;
        let params = attention::Params {
            tokens: sizes.tokens as u32,
            heads: sizes.heads as u32,
            head_size: sizes.head_size as u32,
            causal: mask.causal.into(),
            has_mask: mask.key_padding_mask.is_some().into(),
            has_cu_seqlens: mask.packing.is_some().into(),
            scale: sizes.scale(),
        };
        let resources = vec![
            self.buffer(query_key_value)?,
            self.buffer_or_empty(mask.key_padding_mask)?,
            self.buffer_or_empty(mask.packing.map(|packing| packing.cu_seqlens))?,
            self.buffer(&output)?,
        ];
        let grid =
            [(sizes.max_seqlen as u32).div_ceil(variant.queries), params.heads, sizes.sequences as u32];
        let flops = 2 * sizes.product_flops(mask);
        let overrides = (variant.overrides)([query_key_value.dtype(), dtype]);
        self.dispatch(variant.kernel, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }

    fn attention_subgroup(
        &mut self,
        query_key_value: &Tensor,
        sizes: &Sizes,
        mask: &AttentionMask<'_>,
        lanes: u32,
    ) -> Result<Tensor> {
        let output = self.allocate_texture(&[sizes.batch, sizes.tokens, sizes.heads * sizes.head_size])?;
        let params = attention_subgroup::Params {
            tokens: sizes.tokens as u32,
            heads: sizes.heads as u32,
            causal: mask.causal.into(),
            has_mask: mask.key_padding_mask.is_some().into(),
            has_cu_seqlens: mask.packing.is_some().into(),
            scale: sizes.scale(),
        };
        let resources = vec![
            self.texture(query_key_value)?,
            self.buffer_or_empty(mask.key_padding_mask)?,
            self.buffer_or_empty(mask.packing.map(|packing| packing.cu_seqlens))?,
            self.texture(&output)?,
        ];
        let grid = [
            (sizes.max_seqlen as u32).div_ceil(attention_subgroup::ROWS),
            params.heads,
            sizes.sequences as u32,
        ];
        let texels = sizes.head_size as u32 / 4;
        let share_lanes = texels.next_power_of_two().min(lanes);
        let overrides = attention_subgroup::Overrides { texels, share_lanes, lanes }.values();
        let flops = 2 * sizes.product_flops(mask);
        self.dispatch(&attention_subgroup::KERNEL, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }
}
