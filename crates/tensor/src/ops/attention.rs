//! Attention, by the kernel that suits a call.

#[cfg(not(target_family = "wasm"))]
mod measure;
mod variants;

use clipseg_shaders::kernels::{attention, attention_scores, attention_subgroup, attention_vec4};

use self::variants::{PLAIN, VEC4, Variant, candidates};
use super::activation_dtype::expect_floats;
use super::{expect_shape, shape_error};
use crate::tensor::DType;
use crate::{Recorder, Result, Tensor};

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

impl AttentionMask<'_> {
    /// Whether some keys of a query's own sequence are hidden from it.
    fn hides_keys(&self) -> bool {
        self.causal || self.key_padding_mask.is_some()
    }
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
    /// Where rows are not the sequences' tokens one by one, since sequences begin alike: which are which.
    /// Only [`Recorder::attention_of_shared_rows`] takes these.
    pub shared: Option<SharedRows<'a>>,
}

/// Sequences that begin alike, with a row for each different beginning: causal attention gives a token the
/// same result in all sequences that are the same up to it. Prompts such as "a photo of a cat" and "a photo
/// of a dog" differ in their last tokens alone.
#[derive(Clone, Copy, Debug)]
pub struct SharedRows<'a> {
    /// `[tokens]` of `u32`: the row of each token of the sequences, which lie one behind the other.
    /// [`Packing::cu_seqlens`] counts these tokens.
    pub row_of_token: &'a Tensor,
    /// `[rows]` of `u32`: a token of each row.
    pub token_of_row: &'a Tensor,
}

/// What attention is asked for.
#[derive(Clone, Copy)]
struct Call<'a> {
    query_key_value: &'a Tensor,
    sizes: Sizes,
    mask: &'a AttentionMask<'a>,
    /// What the output's elements are to be.
    output: DType,
    /// Of the device's subgroups, where it runs the subgroup kernels; else 0.
    lanes: u32,
}

/// The sizes of a fused query-key-value tensor `[batch, tokens, 3 · heads · head_size]`.
#[derive(Clone, Copy)]
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
        if heads == 0 || width % (3 * heads) != 0 || !PLAIN.fits(width / (3 * heads)) {
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
            Some(Packing { cu_seqlens, max_seqlen, shared: None }) if batch == 1 && cu_seqlens.len() > 1 => {
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
    VEC4.fits(head_size)
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
    /// of four up to 64, or the device reads no f16, as the processor.
    pub fn attention_as(
        &mut self,
        dtype: DType,
        query_key_value: &Tensor,
        heads: usize,
        mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        let call = self.attention_call(dtype, query_key_value, heads, mask)?;
        let candidates = candidates(self.device(), &call);
        let Some(variant) = self.choose(&call, &candidates) else {
            let reason = format!(
                "no kernel takes {query_key_value:?} for {heads} heads and gives {dtype:?}; take F32"
            );
            return shape_error("attention", reason);
        };
        self.attention_with(variant, &call)
    }

    /// Causal [`attention`](Self::attention) of sequences that [share rows](Packing::shared), in F32:
    /// `[1, rows, 3 · heads · head_size]` becomes `[1, rows, heads · head_size]`. Between them the sequences
    /// lie in memory with all their tokens; `query_key_value` is given back to the plan before that.
    ///
    /// # Errors
    /// As [`attention`](Self::attention), and when the rows are not shared or the attention is not causal.
    pub fn attention_of_shared_rows(
        &mut self,
        query_key_value: Tensor,
        heads: usize,
        mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        let (&[1, rows, width], Some(Packing { shared: Some(shared), .. }), true) =
            (query_key_value.shape(), mask.packing, mask.causal)
        else {
            return shape_error("attention_of_shared_rows", format!("{query_key_value:?} as {mask:?}"));
        };
        let SharedRows { row_of_token, token_of_row } = shared;
        expect_shape("attention_of_shared_rows", "a token of each row", token_of_row, &[rows])?;
        let tokens = self.gather_rows(&query_key_value, row_of_token)?;
        drop(query_key_value);
        let tokens = tokens.reshape(&[1, row_of_token.len(), width])?;
        let packing = mask.packing.map(|packing| Packing { shared: None, ..packing });
        let context = self.attention(&tokens, heads, &AttentionMask { packing, ..*mask })?;
        drop(tokens);
        self.gather_rows(&context, token_of_row)?.reshape(&[1, rows, width / 3])
    }

    fn attention_call<'a>(
        &self,
        dtype: DType,
        query_key_value: &'a Tensor,
        heads: usize,
        mask: &'a AttentionMask<'a>,
    ) -> Result<Call<'a>> {
        expect_floats("attention", dtype)?;
        let sizes = Sizes::of(query_key_value, heads, mask)?;
        let lanes = self.device().lanes().unwrap_or(0);
        Ok(Call { query_key_value, sizes, mask, output: dtype, lanes })
    }

    /// The kernels that can compute [`attention_as`](Self::attention_as); the one that it takes without
    /// tuning first.
    ///
    /// # Errors
    /// As [`attention`](Self::attention).
    pub fn attention_kernels(
        &self,
        dtype: DType,
        query_key_value: &Tensor,
        heads: usize,
        mask: &AttentionMask<'_>,
    ) -> Result<Vec<&'static str>> {
        let call = self.attention_call(dtype, query_key_value, heads, mask)?;
        Ok(candidates(self.device(), &call).into_iter().map(|variant| variant.kernel.name).collect())
    }

    /// As [`attention_as`](Self::attention_as), by one of its [`attention_kernels`](Self::attention_kernels):
    /// for tests and benchmarks.
    ///
    /// # Errors
    /// As [`attention_as`](Self::attention_as), and [`Error::Shape`](crate::Error::Shape) when the kernel
    /// does not take the shape.
    pub fn attention_by(
        &mut self,
        kernel: &str,
        dtype: DType,
        query_key_value: &Tensor,
        heads: usize,
        mask: &AttentionMask<'_>,
    ) -> Result<Tensor> {
        let call = self.attention_call(dtype, query_key_value, heads, mask)?;
        let candidates = candidates(self.device(), &call);
        match candidates.into_iter().find(|variant| variant.kernel.name == kernel) {
            Some(variant) => self.attention_with(variant, &call),
            None => {
                let hidden = if mask.hides_keys() { " where keys are hidden" } else { "" };
                let reason = format!("{kernel} does not take {query_key_value:?} to {dtype:?}{hidden}");
                shape_error("attention", reason)
            }
        }
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

    /// Attention with a variant that takes it.
    fn attention_with(&mut self, variant: &Variant, call: &Call<'_>) -> Result<Tensor> {
        if variant.kernel.binds_textures() {
            return self.attention_on_textures(variant, call);
        }
        let Call { query_key_value, sizes, mask, output: dtype, .. } = *call;
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
        let overrides = (variant.overrides)(call);
        self.dispatch(variant.kernel, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }

    fn attention_on_textures(&mut self, variant: &Variant, call: &Call<'_>) -> Result<Tensor> {
        let Call { query_key_value, sizes, mask, .. } = *call;
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
        let grid =
            [(sizes.max_seqlen as u32).div_ceil(variant.queries), params.heads, sizes.sequences as u32];
        let flops = 2 * sizes.product_flops(mask);
        let overrides = (variant.overrides)(call);
        self.dispatch(variant.kernel, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }
}
