use std::sync::Arc;

use clipseg_tensor::transformer::{Block, BlockSizes, load_linear};
use clipseg_tensor::{
    Activation, Array, Device, Error, Linear, MemoryUse, Modulation, Plan, PlanCache, Recorder, Result, Run,
    Tensor, Weights,
};

use crate::DecoderConfig;
use crate::upsampler::Upsampler;

/// Most plans kept, one for each number of pairs and grid.
const PLANS: usize = 8;

/// Additional outputs besides the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderOutputOptions {
    /// The output of every layer.
    pub hidden_states: bool,
    /// The attention probabilities of every layer.
    pub attentions: bool,
}

/// The outputs of the decoder, as transformers' `CLIPSegDecoderOutput`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DecoderOutput {
    /// `[pairs, height, width]`; their sigmoid is the probability of the prompt's object.
    pub logits: Array,
    /// The output of every layer, `[pairs, tokens, reduce_dim]` each; empty unless asked for.
    pub hidden_states: Vec<Array>,
    /// Attention probabilities of every layer, `[pairs, heads, tokens, tokens]` each; empty unless asked for.
    pub attentions: Vec<Array>,
}

/// What to look for: text or image embeddings, not normalised.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// `[count, projection_dim]`
    pub embeddings: &'a [f32],
    /// Number of conditions.
    pub count: usize,
}

/// The decoder's weights on a device, with plans for the shapes that were asked for.
pub struct Decoder {
    device: Device,
    config: DecoderConfig,
    film_gamma: Linear,
    film_beta: Linear,
    reduces: Vec<Linear>,
    layers: Vec<Block>,
    upsampler: Upsampler,
    plans: PlanCache<Key, DecoderPlan>,
}

#[derive(Clone, PartialEq)]
struct Key {
    pairs: usize,
    scenes: usize,
    grid: (usize, usize),
    options: DecoderOutputOptions,
}

struct DecoderPlan {
    plan: Plan,
    tensors: DecoderTensors,
}

struct DecoderTensors {
    activations: Vec<Tensor>,
    conditions: Tensor,
    logits: Tensor,
    hidden_states: Vec<Tensor>,
    attentions: Vec<Tensor>,
}

impl Decoder {
    /// Loads the decoder whose tensors start with `prefix`.
    ///
    /// # Errors
    /// Those of `weights`, and of the device.
    pub fn load<W: Weights>(
        device: &Device,
        weights: &W,
        prefix: &str,
        config: &DecoderConfig,
    ) -> std::result::Result<Self, W::Error> {
        let width = config.reduce_dim;
        let sizes = BlockSizes {
            hidden: width,
            intermediate: config.intermediate_size,
            heads: config.num_attention_heads,
            // transformers ignores decoder_hidden_act and always uses ReLU here.
            activation: Activation::Relu,
            epsilon: config.layer_norm_eps,
        };
        let film = |name: &str| {
            load_linear(device, weights, &format!("{prefix}{name}"), width, config.projection_dim)
        };
        let reduce = |layer: usize| {
            load_linear(
                device,
                weights,
                &format!("{prefix}reduces.{layer}"),
                width,
                config.vision_hidden_size,
            )
        };
        let block = |layer: usize| Block::load(device, weights, &format!("{prefix}layers.{layer}."), &sizes);
        Ok(Self {
            device: device.clone(),
            config: config.clone(),
            film_gamma: film("film_mul")?,
            film_beta: film("film_add")?,
            reduces: (0..config.depth).map(reduce).collect::<std::result::Result<_, _>>()?,
            layers: (0..config.depth).map(block).collect::<std::result::Result<_, _>>()?,
            upsampler: Upsampler::load(device, weights, prefix, config)?,
            plans: PlanCache::new(device, PLANS),
        })
    }

    /// The decoder's sizes.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The most conditions that fit into one call for a scene of `grid` patches; callers split larger
    /// numbers.
    #[must_use]
    pub fn pair_limit(&self, grid: (usize, usize)) -> usize {
        let tokens = tokens_of(grid);
        let rows = self.device.row_limit().unwrap_or(usize::MAX) / tokens;
        // The widest tensor of a pair must fit into a binding: the hidden layer of the MLP, the 3×3
        // neighbourhoods, or the logits.
        let side = self.pixels_per_patch();
        let mlp_or_neighbourhoods = self.config.intermediate_size.max(9 * self.config.reduce_dim);
        let upsampled = (side * side).max(side * self.config.reduce_dim / 2);
        let values = tokens.saturating_mul(mlp_or_neighbourhoods.max(upsampled));
        let limit = self.device.limits().max_storage_buffer_binding_size as usize / 4;
        rows.min(limit / values.max(1)).max(1)
    }

    /// Rows and columns of the logits of a scene of `grid` patches.
    #[must_use]
    pub fn logits_size(&self, (rows, columns): (usize, usize)) -> (usize, usize) {
        let side = self.pixels_per_patch();
        (rows.saturating_mul(side), columns.saturating_mul(side))
    }

    /// Rows of pixels in the logits per row of patches, and columns per column. The three convolutions of the
    /// complex upsampling keep the grid, and enlarge it by a quarter of a patch twice.
    fn pixels_per_patch(&self) -> usize {
        match self.config.use_complex_transposed_convolution {
            true => (self.config.patch_size / 4).pow(2),
            false => self.config.patch_size,
        }
    }

    /// Segments scenes. `activations` are those of the vision tower, `[scenes, 1 + rows · columns, hidden]`
    /// each, the deepest first; `grid` is (rows, columns). With one scene, every condition is applied to it;
    /// else each condition to the scene of the same index.
    ///
    /// # Errors
    /// [`Error::Shape`] when the numbers or widths do not fit; errors of the device.
    pub async fn forward(
        &self,
        activations: &[Tensor],
        grid: (usize, usize),
        conditions: Conditions<'_>,
        options: DecoderOutputOptions,
    ) -> Result<DecoderOutput> {
        let plan = self.prepare(activations, grid, conditions, options)?;
        let run = fill(&plan, activations, conditions)?;
        let DecoderTensors { logits, hidden_states, attentions, .. } = &plan.tensors;
        let outputs: Vec<_> = [logits].into_iter().chain(hidden_states).chain(attentions).collect();
        let mut arrays = run.finish(&outputs).await?.into_iter();
        let mut logits = arrays.next().unwrap_or_default();
        // Drops the only channel.
        logits.shape.pop();
        Ok(DecoderOutput {
            logits,
            hidden_states: arrays.by_ref().take(hidden_states.len()).collect(),
            attentions: arrays.collect(),
        })
    }

    /// As [`forward`](Self::forward), but the logits stay on the device, `[pairs, height, width, 1]`. They
    /// may be used by anything submitted later.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub async fn decode_on_device(
        &self,
        activations: &[Tensor],
        grid: (usize, usize),
        conditions: Conditions<'_>,
    ) -> Result<Tensor> {
        let plan = self.prepare(activations, grid, conditions, DecoderOutputOptions::default())?;
        let logits = self.device.uninit(plan.tensors.logits.shape())?;
        let submitted = {
            let mut run = fill(&plan, activations, conditions)?;
            run.copy_out(&plan.tensors.logits, &logits)?;
            run.submitted()
        };
        submitted.await?;
        Ok(logits)
    }

    fn prepare(
        &self,
        activations: &[Tensor],
        grid: (usize, usize),
        conditions: Conditions<'_>,
        options: DecoderOutputOptions,
    ) -> Result<Arc<DecoderPlan>> {
        let fail = |reason: String| Err(Error::Shape { op: "decoder", reason });
        let Conditions { embeddings, count } = conditions;
        let width = self.config.projection_dim;
        if count == 0 || count.checked_mul(width) != Some(embeddings.len()) {
            return fail(format!("{} values are not {count} conditions of {width}", embeddings.len()));
        }
        if activations.len() != self.config.depth {
            return fail(format!("{} activations for {} layers", activations.len(), self.config.depth));
        }
        let scenes = activations[0].shape().first().copied().unwrap_or(0);
        let expected = [scenes, tokens_of(grid), self.config.vision_hidden_size];
        if let Some(other) = activations.iter().find(|activation| activation.shape() != expected) {
            return fail(format!("an activation is {other:?}, expected {expected:?}"));
        }
        let key = Key { pairs: count, scenes, grid, options };
        self.plans.get_or_record(&key, || self.record(&key))
    }

    /// The memory that [`forward`](Self::forward) takes for `pairs` conditions on one scene of `grid`
    /// patches: a plan, unless it exists already, and the buffer for reading back the logits.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Shape`] beyond the adapter's limits.
    pub fn memory_needed(&self, pairs: usize, grid: (usize, usize)) -> Result<MemoryUse> {
        let key = Key { pairs, scenes: 1, grid, options: DecoderOutputOptions::default() };
        // First, as it refuses sizes that are too large to be multiplied.
        let plans = self.plans.bytes_needed(&self.device, &key, |recorder| self.record_in(recorder, &key))?;
        let (rows, columns) = self.logits_size(grid);
        let read_back = 4 * (pairs * rows * columns) as u64;
        Ok(MemoryUse { plans, read_back, ..MemoryUse::default() })
    }

    fn record(&self, key: &Key) -> Result<DecoderPlan> {
        let mut recorder = Recorder::new(&self.device);
        let tensors = self.record_in(&mut recorder, key)?;
        Ok(DecoderPlan { plan: recorder.finish()?, tensors })
    }

    fn record_in(&self, recorder: &mut Recorder, key: &Key) -> Result<DecoderTensors> {
        let shape = [key.scenes, tokens_of(key.grid), self.config.vision_hidden_size];
        let activations =
            (0..self.config.depth).map(|_| recorder.input(&shape)).collect::<Result<Vec<_>>>()?;
        let conditions = recorder.input(&[key.pairs, self.config.projection_dim])?;
        let film = match self.config.conditional_layer {
            Some(layer) => {
                let gamma = recorder.linear(&conditions, &self.film_gamma)?;
                Some((layer, gamma, recorder.linear(&conditions, &self.film_beta)?))
            }
            None => None,
        };

        let mut hidden_states = Vec::new();
        let mut attentions = Vec::new();
        let mut previous: Option<Tensor> = None;
        for (step, (activation, (reduce, layer))) in
            activations.iter().zip(self.reduces.iter().zip(&self.layers)).enumerate()
        {
            let reduced = recorder.linear(activation, reduce)?;
            let modulation = match &film {
                Some((layer, gamma, beta)) if step == *layer => Some(Modulation { gamma, beta }),
                _ => None,
            };
            let input = recorder.film(key.pairs, &reduced, previous.as_ref(), modulation)?;
            drop((reduced, previous));
            let probabilities = key.options.attentions.then_some(&mut attentions);
            let output = layer.post_norm(recorder, &input, probabilities)?;
            if key.options.hidden_states {
                hidden_states.push(output.clone());
            }
            previous = Some(output);
        }
        let Some(last) = previous else {
            return Err(Error::Shape { op: "decoder", reason: "no layers".to_owned() });
        };
        let logits = self.upsampler.record(recorder, &last, key.grid)?;
        drop(last);
        for tensor in [&logits].into_iter().chain(&hidden_states).chain(&attentions) {
            recorder.output(tensor)?;
        }
        Ok(DecoderTensors { activations, conditions, logits, hidden_states, attentions })
    }
}

/// The class token and one per patch; the largest number where there are more patches than it.
fn tokens_of((rows, columns): (usize, usize)) -> usize {
    rows.saturating_mul(columns).saturating_add(1)
}

fn fill<'plan>(
    plan: &'plan DecoderPlan,
    activations: &[Tensor],
    conditions: Conditions<'_>,
) -> Result<Run<'plan>> {
    let mut run = plan.plan.run();
    for (activation, input) in activations.iter().zip(&plan.tensors.activations) {
        run.copy_in(activation, input)?;
    }
    run.write(&plan.tensors.conditions, conditions.embeddings)?;
    Ok(run)
}
