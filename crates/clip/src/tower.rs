//! The stack of transformer layers that both towers share, and their optional outputs.

use clipseg_tensor::transformer::{Block, BlockSizes};
use clipseg_tensor::{Array, AttentionMask, Device, Recorder, Tensor, Weights};

/// Additional outputs of a tower. Each costs memory and time; by default all are off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// The output of the embedding and of every layer.
    pub hidden_states: bool,
    /// The attention probabilities of every layer.
    pub attentions: bool,
}

/// The outputs of a tower, as transformers' `BaseModelOutputWithPooling`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TowerOutput {
    /// The last layer's output (for text after the final layer norm), `[batch, tokens, hidden]`.
    pub last_hidden_state: Array,
    /// One vector per input, `[batch, hidden]`.
    pub pooler_output: Array,
    /// `pooler_output` through the projection, if the checkpoint has one; not normalised,
    /// `[batch, projection_dim]`.
    pub embedding: Option<Array>,
    /// The output of the embedding and of every layer, `[batch, tokens, hidden]` each; empty unless asked
    /// for.
    pub hidden_states: Vec<Array>,
    /// Attention probabilities of every layer, `[batch, heads, tokens, tokens]` each; empty unless asked for.
    pub attentions: Vec<Array>,
}

/// The tensors of a recorded tower, kept as outputs of its plan, in the order of [`TowerOutput`]'s fields.
pub(crate) struct TowerTensors {
    pub last_hidden_state: Tensor,
    pub pooler_output: Tensor,
    pub embedding: Option<Tensor>,
    pub hidden_states: Vec<Tensor>,
    pub attentions: Vec<Tensor>,
}

impl TowerTensors {
    /// All of them, in order.
    pub fn all(&self) -> Vec<&Tensor> {
        [&self.last_hidden_state, &self.pooler_output]
            .into_iter()
            .chain(&self.embedding)
            .chain(&self.hidden_states)
            .chain(&self.attentions)
            .collect()
    }

    /// Sorts the arrays that [`all`](Self::all) was read back as into fields.
    pub fn sort(&self, arrays: Vec<Array>) -> TowerOutput {
        let mut arrays = arrays.into_iter();
        let mut next = || arrays.next().unwrap_or_default();
        TowerOutput {
            last_hidden_state: next(),
            pooler_output: next(),
            embedding: self.embedding.as_ref().map(|_| next()),
            hidden_states: self.hidden_states.iter().map(|_| next()).collect(),
            attentions: self.attentions.iter().map(|_| next()).collect(),
        }
    }
}

/// A stack of pre-norm layers.
pub(crate) struct Layers(Vec<Block>);

/// The tensors that remain after running [`Layers`].
pub(crate) struct Trace {
    /// The stack's input and the output of every layer; `None` for those not asked for.
    pub hidden_states: Vec<Option<Tensor>>,
    pub attentions: Vec<Tensor>,
    pub last: Tensor,
}

impl Layers {
    pub fn load<W: Weights>(
        device: &Device,
        weights: &W,
        prefix: &str,
        count: usize,
        sizes: &BlockSizes,
    ) -> Result<Self, W::Error> {
        (0..count)
            .map(|layer| Block::load(device, weights, &format!("{prefix}encoder.layers.{layer}."), sizes))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Runs the first `depth` layers; `keep` says which entries of [`Trace::hidden_states`] stay in memory.
    pub fn record(
        &self,
        recorder: &mut Recorder,
        input: Tensor,
        depth: usize,
        mask: &AttentionMask<'_>,
        keep: impl Fn(usize) -> bool,
        attentions: bool,
    ) -> clipseg_tensor::Result<Trace> {
        let mut trace = Trace { hidden_states: Vec::new(), attentions: Vec::new(), last: input };
        trace.hidden_states.push(keep(0).then(|| trace.last.clone()));
        for (layer, block) in self.0.iter().take(depth).enumerate() {
            let probabilities = attentions.then_some(&mut trace.attentions);
            trace.last = block.pre_norm(recorder, &trace.last, mask, probabilities)?;
            trace.hidden_states.push(keep(layer + 1).then(|| trace.last.clone()));
        }
        Ok(trace)
    }
}
