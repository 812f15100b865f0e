//! The transformer block that CLIP's towers and CLIPSeg's decoder share, under the tensor names of
//! transformers.

use clipseg_shaders::Activation;

use crate::ops::heads_fit_vectors;
use crate::{AttentionMask, Device, LayerNorm, Linear, Mlp, Recorder, Result, Tensor, Weights};

/// The sizes of a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockSizes {
    /// The width of the hidden states.
    pub hidden: usize,
    /// The width inside the MLP.
    pub intermediate: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// The MLP's activation.
    pub activation: Activation,
    /// The layer norms' ε.
    pub epsilon: f32,
}

/// Self-attention and MLP, each with a layer norm and a residual connection.
///
/// Activations between two of its ops may be in f16 ([`Precision::F16`](crate::Precision::F16)). The hidden
/// states, to which each half adds, stay in f32: otherwise rounding errors would add up from block to block.
pub struct Block {
    sizes: BlockSizes,
    query_key_value: Linear,
    output: Linear,
    layer_norm1: LayerNorm,
    mlp: Mlp,
    layer_norm2: LayerNorm,
}

impl Block {
    /// Loads the block whose tensors start with `prefix`. The three projections of attention become one
    /// product.
    ///
    /// # Errors
    /// Those of `weights`, and of the device.
    pub fn load<W: Weights>(
        device: &Device,
        weights: &W,
        prefix: &str,
        sizes: &BlockSizes,
    ) -> Result<Self, W::Error> {
        let &BlockSizes { hidden, intermediate, .. } = sizes;
        let mut projections = Vec::with_capacity(3 * hidden * hidden);
        let mut biases = Vec::with_capacity(3 * hidden);
        for part in ["q_proj", "k_proj", "v_proj"] {
            let name = format!("{prefix}self_attn.{part}");
            projections.extend_from_slice(&weights.floats(&format!("{name}.weight"), &[hidden, hidden])?);
            biases.extend_from_slice(&weights.floats(&format!("{name}.bias"), &[hidden])?);
        }
        Ok(Self {
            sizes: *sizes,
            query_key_value: Linear::new(device, 3 * hidden, hidden, &projections, Some(&biases))?,
            output: load_linear(device, weights, &format!("{prefix}self_attn.out_proj"), hidden, hidden)?,
            layer_norm1: load_layer_norm(
                device,
                weights,
                &format!("{prefix}layer_norm1"),
                hidden,
                sizes.epsilon,
            )?,
            mlp: Mlp::new(
                load_linear(device, weights, &format!("{prefix}mlp.fc1"), intermediate, hidden)?,
                load_linear(device, weights, &format!("{prefix}mlp.fc2"), hidden, intermediate)?,
                sizes.activation,
            )?,
            layer_norm2: load_layer_norm(
                device,
                weights,
                &format!("{prefix}layer_norm2"),
                hidden,
                sizes.epsilon,
            )?,
        })
    }

    /// The block of CLIP's towers: each half reads a normalised copy and adds to the hidden states
    /// `[batch, tokens, hidden]`. The attention's probabilities are added to `attentions` where asked for.
    ///
    /// # Errors
    /// Those of the ops.
    pub fn pre_norm(
        &self,
        recorder: &mut Recorder,
        hidden_states: &Tensor,
        mask: &AttentionMask<'_>,
        attentions: Option<&mut Vec<Tensor>>,
    ) -> Result<Tensor> {
        let norm_fits = self.layer_norm1.fits_vectors();
        let dtype = recorder.dtype_between([norm_fits, self.query_key_value.accepts_f16_input()]);
        let normalised = recorder.layer_norm_as(dtype, hidden_states, &self.layer_norm1)?;
        let hidden_states = self.attend(recorder, &normalised, hidden_states, mask, attentions)?;
        let dtype = recorder.dtype_between([norm_fits, self.mlp.accepts_f16_input()]);
        let normalised = recorder.layer_norm_as(dtype, &hidden_states, &self.layer_norm2)?;
        recorder.mlp(&normalised, &self.mlp, &hidden_states)
    }

    /// The block of CLIPSeg's decoder: each half is added to the hidden states `[batch, tokens, hidden]`,
    /// then the sum is normalised.
    ///
    /// # Errors
    /// Those of the ops.
    pub fn post_norm(
        &self,
        recorder: &mut Recorder,
        hidden_states: &Tensor,
        attentions: Option<&mut Vec<Tensor>>,
    ) -> Result<Tensor> {
        let sum =
            self.attend(recorder, hidden_states, hidden_states, &AttentionMask::default(), attentions)?;
        let hidden_states = recorder.layer_norm(&sum, &self.layer_norm1)?;
        drop(sum);
        let sum = recorder.mlp(&hidden_states, &self.mlp, &hidden_states)?;
        recorder.layer_norm(&sum, &self.layer_norm2)
    }

    fn attend(
        &self,
        recorder: &mut Recorder,
        input: &Tensor,
        residual: &Tensor,
        mask: &AttentionMask<'_>,
        attentions: Option<&mut Vec<Tensor>>,
    ) -> Result<Tensor> {
        let heads_fit = heads_fit_vectors(self.sizes.hidden / self.sizes.heads.max(1));
        // The kernel for the probabilities, which are rarely asked for, reads no f16 values; nor does the one
        // that gathers rows.
        let are_shared = mask.packing.is_some_and(|packing| packing.shared.is_some());
        let heads_fit = heads_fit && !are_shared;
        let reader_fits = heads_fit && attentions.is_none();
        let dtype = recorder.dtype_between([self.query_key_value.accepts_f16_input(), reader_fits]);
        let query_key_value =
            recorder.linear_as(dtype, input, &self.query_key_value, Activation::None, None)?;
        if let Some(attentions) = attentions {
            attentions.push(recorder.attention_probabilities(&query_key_value, self.sizes.heads, mask)?);
        }
        let dtype = recorder.dtype_between([heads_fit, self.output.accepts_f16_input()]);
        let context = match are_shared {
            true => recorder.attention_of_shared_rows(query_key_value, self.sizes.heads, mask)?,
            false => {
                let context = recorder.attention_as(dtype, &query_key_value, self.sizes.heads, mask)?;
                drop(query_key_value);
                context
            }
        };
        recorder.linear_with(&context, &self.output, Activation::None, Some(residual))
    }
}

/// A linear layer with a bias, from `name.weight` and `name.bias`.
///
/// # Errors
/// Those of `weights`, and of the device.
pub fn load_linear<W: Weights>(
    device: &Device,
    weights: &W,
    name: &str,
    columns: usize,
    inner: usize,
) -> Result<Linear, W::Error> {
    let weight = weights.floats(&format!("{name}.weight"), &[columns, inner])?;
    let bias = weights.floats(&format!("{name}.bias"), &[columns])?;
    Ok(Linear::new(device, columns, inner, &weight, Some(&bias))?)
}

/// A layer norm from `name.weight` and `name.bias`.
///
/// # Errors
/// Those of `weights`, and of the device.
pub fn load_layer_norm<W: Weights>(
    device: &Device,
    weights: &W,
    name: &str,
    width: usize,
    epsilon: f32,
) -> Result<LayerNorm, W::Error> {
    let weight = weights.floats(&format!("{name}.weight"), &[width])?;
    let bias = weights.floats(&format!("{name}.bias"), &[width])?;
    Ok(LayerNorm::new(device, &weight, &bias, epsilon)?)
}
