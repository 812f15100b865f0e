use clipseg_shaders::{Kernel, kernels};

use super::activation_dtype::expect_floats;
use super::{expect_shape, shape_error};
use crate::matrix_units::MatrixSize;
use crate::tensor::DType;
use crate::{Recorder, Result, Tensor};

/// The largest head that every kernel can have.
const MAX_HEAD_SIZE: usize = kernels::attention::MAX_HEAD_SIZE as usize;

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

/// Where the sequences lie that a batch of one holds, as FlashAttention's varlen functions take them. Rows beyond the last are
/// not looked at, and their output is undefined.
#[derive(Clone, Copy, Debug)]
pub struct Packing<'a> {
    /// `[sequences + 1]` of `u32`, rising: the row that each starts with, and the one after the last. The device cannot refuse
    /// what is beyond the rows; it takes that for their end.
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
        if heads == 0 || width % (3 * heads) != 0 || width / (3 * heads) > MAX_HEAD_SIZE {
            let reason = format!(
                "{query_key_value:?} for {heads} heads, expected 3 · heads · (at most {MAX_HEAD_SIZE}) columns"
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

    /// Operations of the product of queries and keys, over the pairs that may see each other; values take as many. Packed sequences
    /// count as if all were as long as the longest may be.
    fn product_flops(&self, mask: &AttentionMask<'_>) -> u64 {
        let pairs =
            if mask.causal { self.max_seqlen * (self.max_seqlen + 1) / 2 } else { self.max_seqlen.pow(2) };
        2 * (self.sequences * self.heads * pairs * self.head_size) as u64
    }

    fn fit_vectors(&self) -> bool {
        heads_fit_vectors(self.head_size)
    }

    fn scale(&self) -> f32 {
        (self.head_size as f32).powf(-0.5)
    }
}

/// Whether the vec4 and subgroup kernels support heads of this size. Of the workgroup kernels only the vec4 one supports f16.
pub(crate) fn heads_fit_vectors(head_size: usize) -> bool {
    head_size <= 64 && head_size.is_multiple_of(4)
}

impl Recorder {
    /// Multi-head attention over fused queries, keys and values `[batch, tokens, 3 · heads · head_size]`, in that order:
    /// `softmax(query · keyᵀ / √head_size) · value`, `[batch, tokens, heads · head_size]`. No score reaches memory.
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
    /// As [`attention`](Self::attention), and when either is in f16 but the size of a head is not a multiple of four up to 64.
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
        if let Some(matrix) = self.device().matrix_units()
            && query_key_value.dtype() == DType::F16
            && sizes.head_size.is_multiple_of(4)
            && sizes.head_size <= 4 * matrix.side()
        {
            return self.attention_cooperative(dtype, query_key_value, &sizes, mask, matrix);
        }
        match self.device().lanes() {
            Some(lanes) if sizes.fit_vectors() && in_full => {
                self.attention_subgroup(query_key_value, &sizes, mask, lanes)
            }
            _ => self.attention_tile(dtype, query_key_value, &sizes, mask),
        }
    }

    /// The probabilities that [`attention`](Self::attention) weighs values with, `[batch, heads, tokens, tokens]`.
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
        let params = kernels::attention_scores::Params {
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
        let grid = self.grid_1d(scores.len());
        let flops = sizes.product_flops(mask);
        self.dispatch(&kernels::attention_scores::KERNEL, &[], params, resources, grid, flops)?;
        self.softmax(&scores)
    }

    fn attention_tile(
        &mut self,
        dtype: DType,
        query_key_value: &Tensor,
        sizes: &Sizes,
        mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        let overrides = [
            ("INPUT_F16", (query_key_value.dtype() == DType::F16).into()),
            ("OUTPUT_F16", (dtype == DType::F16).into()),
        ];
        let (kernel, overrides, queries) =
            match sizes.fit_vectors() && self.device().supports_unpack2x16float() {
                true => (&kernels::attention_vec4::KERNEL, &overrides[..], kernels::attention_vec4::QUERIES),
                false => (&kernels::attention::KERNEL, &[][..], kernels::attention::QUERIES),
            };
        self.attention_on_buffers(kernel, overrides, queries, dtype, query_key_value, sizes, mask)
    }

    /// The attention of matrix units, of queries, keys and values in f16.
    fn attention_cooperative(
        &mut self,
        dtype: DType,
        query_key_value: &Tensor,
        sizes: &Sizes,
        mask: &AttentionMask<'_>,
        matrix: MatrixSize,
    ) -> Result<Tensor> {
        use kernels::{attention_cooperative_8 as eight, attention_cooperative_16 as sixteen};
        let (kernel, queries) = match matrix {
            MatrixSize::Eight => (&eight::KERNEL, eight::QUERIES),
            MatrixSize::Sixteen => (&sixteen::KERNEL, sixteen::QUERIES),
        };
        let overrides = [("OUTPUT_F16", (dtype == DType::F16).into())];
        self.attention_on_buffers(kernel, &overrides, queries, dtype, query_key_value, sizes, mask)
    }

    /// Attention by one of the kernels on buffers, a workgroup of which has so many `queries`. All take the same parameters and
    /// resources, which a test in the shader crate sees to.
    #[expect(clippy::too_many_arguments, reason = "the kernel and what it is given")]
    fn attention_on_buffers(
        &mut self,
        kernel: &'static Kernel,
        overrides: &[(&'static str, u32)],
        queries: u32,
        dtype: DType,
        query_key_value: &Tensor,
        sizes: &Sizes,
        mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        let output = self.allocate(&[sizes.batch, sizes.tokens, sizes.heads * sizes.head_size], dtype)?;
        let params = kernels::attention::Params {
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
        let grid = [(sizes.max_seqlen as u32).div_ceil(queries), params.heads, sizes.sequences as u32];
        let flops = 2 * sizes.product_flops(mask);
        self.dispatch(kernel, overrides, params, resources, grid, flops)?;
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
        let params = kernels::attention_subgroup::Params {
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
            (sizes.max_seqlen as u32).div_ceil(kernels::attention_subgroup::ROWS),
            params.heads,
            sizes.sequences as u32,
        ];
        let texels = sizes.head_size as u32 / 4;
        let overrides =
            [("TEXELS", texels), ("SHARE_LANES", texels.next_power_of_two().min(lanes)), ("LANES", lanes)];
        let flops = 2 * sizes.product_flops(mask);
        self.dispatch(&kernels::attention_subgroup::KERNEL, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }
}
