//! The text tower.

mod packed;

use std::ops::Range;

use clipseg_tensor::transformer::{BlockSizes, load_layer_norm};
use clipseg_tensor::{
    Array, AttentionMask, Device, LayerNorm, Linear, MemoryUse, Packing, Plan, PlanCache, Recorder, Run,
    SharedRows, Tensor, Weights,
};

use self::packed::Packed;
use crate::prefix::Tower;
use crate::tower::{Layers, OutputOptions, TowerOutput, TowerTensors};
use crate::{Checkpoint, ClipSegTextConfig, Error, Result, Sampled};

/// Most plans kept, one for each number of prompts and of tokens.
const PLANS: usize = 16;

/// CLIP's text tower with its projection: token ids in, embeddings out.
pub struct TextEncoder {
    device: Device,
    config: ClipSegTextConfig,
    tokens: Tensor,
    positions: Tensor,
    layers: Layers,
    final_layer_norm: LayerNorm,
    projection: Option<Linear>,
    fingerprint: String,
    plans: PlanCache<Key, TextPlan>,
}

/// Token ids of a batch of texts, all of one length.
#[derive(Clone, Copy, Debug)]
pub struct TextInput<'a> {
    /// `[batch, length]`
    pub input_ids: &'a [u32],
    /// Tokens per text.
    pub length: usize,
    /// `[batch, length]`, 0 for padding; `None` for no padding.
    pub attention_mask: Option<&'a [u32]>,
    /// `[batch, length]`; `None` for 0, 1, 2, …
    pub position_ids: Option<&'a [u32]>,
}

impl TextInput<'_> {
    /// The number of texts; `None` if there is no text or the lengths contradict each other.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        let ids = self.input_ids.len();
        let is_so_long = |values: Option<&[u32]>| values.is_none_or(|values| values.len() == ids);
        let fits = is_so_long(self.attention_mask) && is_so_long(self.position_ids);
        ids.checked_div(self.length).filter(|&count| fits && count > 0 && count * self.length == ids)
    }

    /// The texts in `range` only.
    ///
    /// # Panics
    /// If `range` goes beyond the texts, as slicing does.
    #[must_use]
    pub fn texts(&self, range: Range<usize>) -> Self {
        let range = range.start * self.length..range.end * self.length;
        Self {
            input_ids: &self.input_ids[range.clone()],
            length: self.length,
            attention_mask: self.attention_mask.map(|mask| &mask[range.clone()]),
            position_ids: self.position_ids.map(|ids| &ids[range.clone()]),
        }
    }
}

#[derive(Clone, PartialEq)]
struct Key {
    layout: Layout,
    options: OutputOptions,
}

/// The memory layout of a batch of texts.
#[derive(Clone, PartialEq)]
enum Layout {
    /// All padded to the length of the longest, as in transformers.
    Padded { batch: usize, length: usize, masked: bool },
    /// One after another without padding between them, in `rows` rows. Where texts that begin alike share
    /// rows, their tokens are more.
    Packed { texts: usize, rows: usize, shared_tokens: Option<usize>, max_seqlen: usize },
}

struct TextPlan {
    plan: Plan,
    tensors: TextTensors,
}

struct TextTensors {
    ids: Tensor,
    position_ids: Tensor,
    mask: Option<Tensor>,
    /// For packed texts only.
    packing: Option<PackingTensors>,
    pooled_rows: Tensor,
    outputs: TowerTensors,
}

/// The tensors of [`Packing`].
struct PackingTensors {
    cu_seqlens: Tensor,
    max_seqlen: usize,
    /// [`SharedRows`]: the row of each token, and a token of each row.
    shared: Option<[Tensor; 2]>,
}

impl PackingTensors {
    fn packing(&self) -> Packing<'_> {
        let shared = self.shared.as_ref();
        let shared = shared.map(|[row_of_token, token_of_row]| SharedRows { row_of_token, token_of_row });
        Packing { cu_seqlens: &self.cu_seqlens, max_seqlen: self.max_seqlen, shared }
    }
}

impl TextEncoder {
    /// Loads the tower from a checkpoint, together with its projection to `projection_dim` values unless that
    /// is `None`. `prefix` is that of the whole CLIP's tensors (`clip.` or nothing); a checkpoint of the
    /// tower alone is accepted too.
    ///
    /// # Errors
    /// An impossible config, a missing or misshapen tensor, or an error of the device.
    pub fn load(
        device: &Device,
        checkpoint: &Checkpoint,
        prefix: &str,
        config: &ClipSegTextConfig,
        projection_dim: Option<usize>,
    ) -> Result<Self> {
        config.validate()?;
        let hidden = config.hidden_size;
        let tower = checkpoint.tower_prefix(prefix, Tower::Text);
        let weights = Sampled::new(checkpoint);
        let table = |name: &str, rows: usize| -> Result<Tensor> {
            let values = weights.floats(&format!("{tower}embeddings.{name}.weight"), &[rows, hidden])?;
            Ok(device.upload(&[rows, hidden], &values)?)
        };
        let sizes = BlockSizes {
            hidden,
            intermediate: config.intermediate_size,
            heads: config.num_attention_heads,
            activation: config.hidden_act.into(),
            epsilon: config.layer_norm_eps as f32,
        };
        let final_name = format!("{tower}final_layer_norm");
        let projection = match projection_dim {
            Some(width) => {
                let weight = weights.floats(&format!("{prefix}text_projection.weight"), &[width, hidden])?;
                Some(Linear::new(device, width, hidden, &weight, None)?)
            }
            None => None,
        };
        let tokens = table("token_embedding", config.vocab_size)?;
        let positions = table("position_embedding", config.max_position_embeddings)?;
        let layers = Layers::load(device, &weights, &tower, config.num_hidden_layers, &sizes)?;
        let final_layer_norm = load_layer_norm(device, &weights, &final_name, hidden, sizes.epsilon)?;
        let ClipSegTextConfig { num_attention_heads, hidden_act, layer_norm_eps, eos_token_id, .. } = config;
        let settings = format!("{num_attention_heads} {hidden_act:?} {layer_norm_eps} {eos_token_id}");
        let fingerprint = weights.fingerprint(&settings);
        Ok(Self {
            device: device.clone(),
            config: config.clone(),
            tokens,
            positions,
            layers,
            final_layer_norm,
            projection,
            fingerprint,
            plans: PlanCache::new(device, PLANS),
        })
    }

    /// Identifies what the tower makes of a text, so that stored conditions can be matched to their model: 16
    /// hexadecimal digits of a checksum over its settings and a sample of every weight, in f16.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The projected embeddings of texts, not normalised, `[batch, projection_dim]`: the decoder's
    /// conditions.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::Input`] when the tower was loaded without its projection.
    pub async fn embed(&self, input: TextInput<'_>) -> Result<Array> {
        self.check(input)?;
        let packed = Packed::of(input, &self.pooled_positions(input));
        let layout = packed.as_ref().map_or_else(|| padded(input), Packed::layout);
        let plan = self.plan(Key { layout, options: OutputOptions::default() })?;
        let Some(embedding) = &plan.tensors.outputs.embedding else {
            return Err(Error::Input("this text tower was loaded without its projection".to_owned()));
        };
        let run = match &packed {
            Some(packed) => packed.fill(&plan)?,
            None => self.fill(&plan, input)?,
        };
        Ok(run.finish(&[embedding]).await?.swap_remove(0))
    }

    /// All outputs of the tower, as from transformers' `CLIPSegTextModel`.
    ///
    /// # Errors
    /// [`Error::Input`] for ids beyond the vocabulary, positions beyond the table, or lengths that contradict
    /// each other; errors of the device.
    pub async fn forward(&self, input: TextInput<'_>, options: OutputOptions) -> Result<TowerOutput> {
        self.check(input)?;
        let plan = self.plan(Key { layout: padded(input), options })?;
        let reading = {
            let run = self.fill(&plan, input)?;
            run.finish(&plan.tensors.outputs.all())
        };
        let arrays = reading.await?;
        Ok(plan.tensors.outputs.sort(arrays))
    }

    fn plan(&self, key: Key) -> Result<std::sync::Arc<TextPlan>> {
        Ok(self.plans.get_or_record(&key, || self.record(&key))?)
    }

    fn fill<'plan>(&self, plan: &'plan TextPlan, input: TextInput<'_>) -> Result<Run<'plan>> {
        let mut run = plan.plan.run();
        run.write_u32(&plan.tensors.ids, input.input_ids)?;
        match input.position_ids {
            Some(ids) => run.write_u32(&plan.tensors.position_ids, ids)?,
            None => {
                let ids: Vec<u32> =
                    (0..input.input_ids.len()).map(|position| (position % input.length) as u32).collect();
                run.write_u32(&plan.tensors.position_ids, &ids)?;
            }
        }
        if let (Some(mask), Some(values)) = (&plan.tensors.mask, input.attention_mask) {
            run.write_u32(mask, values)?;
        }
        let positions = self.pooled_positions(input).into_iter().enumerate();
        let rows: Vec<_> =
            positions.map(|(text, position)| (text * input.length + position) as u32).collect();
        run.write_u32(&plan.tensors.pooled_rows, &rows)?;
        Ok(run)
    }

    fn check(&self, input: TextInput<'_>) -> Result<()> {
        let fail = |message: String| Err(Error::Input(message));
        let count = input.input_ids.len();
        if input.length == 0 || count == 0 || !count.is_multiple_of(input.length) {
            return fail(format!(
                "input_ids: {count} ids do not make whole texts of {} tokens",
                input.length
            ));
        }
        for (name, values) in [("attention_mask", input.attention_mask), ("position_ids", input.position_ids)]
        {
            if values.is_some_and(|values| values.len() != count) {
                return fail(format!("{name} must be as long as input_ids, {count}"));
            }
        }
        let positions = self.config.max_position_embeddings;
        if input.position_ids.is_none() && input.length > positions {
            return fail(format!("a text of {} tokens; the model has {positions} positions", input.length));
        }
        if let Some(id) = input.position_ids.and_then(|ids| ids.iter().find(|&&id| id as usize >= positions))
        {
            return fail(format!("position_ids holds {id}; the model has {positions} positions"));
        }
        if let Some(id) = input.input_ids.iter().find(|&&id| id as usize >= self.config.vocab_size) {
            return fail(format!(
                "input_ids holds {id}; the vocabulary has {} tokens: is the tokenizer this model's?",
                self.config.vocab_size
            ));
        }
        Ok(())
    }

    /// The position of each text's end token. Old checkpoints set `eos_token_id` to 2 and mean the largest id
    /// in the text. A text without the token is pooled at its first token, which transformers' argmax over
    /// zeros picks.
    fn pooled_positions(&self, input: TextInput<'_>) -> Vec<usize> {
        let position = |text: &[u32]| match self.config.eos_token_id {
            2 => (0..text.len()).rev().max_by_key(|&position| text[position]).unwrap_or(0),
            eos => text.iter().position(|&id| id == eos).unwrap_or(0),
        };
        input.input_ids.chunks_exact(input.length).map(position).collect()
    }

    /// The most texts of `length` tokens that fit into one call on this device; callers split larger batches.
    #[must_use]
    pub fn text_limit(&self, length: usize) -> usize {
        // The widest tensors are the hidden layer of an MLP, and the fused queries, keys and values.
        let widest = self.config.intermediate_size.max(3 * self.config.hidden_size);
        let values = self.device.limits().max_storage_buffer_binding_size as usize / 4;
        let rows = self.device.row_limit().unwrap_or(usize::MAX).min(values / widest.max(1));
        (rows / length.max(1)).max(1)
    }

    /// The most memory that [`embed`](Self::embed) takes for `texts` texts of up to `length` tokens: a plan,
    /// unless that of texts which begin differently exists already, and the buffer for reading back the
    /// embeddings.
    ///
    /// # Errors
    /// [`TooLarge`](clipseg_tensor::Error::TooLarge) and [`Shape`](clipseg_tensor::Error::Shape) beyond the
    /// adapter's limits.
    pub fn memory_needed(&self, texts: usize, length: usize) -> Result<MemoryUse> {
        let [alone, shared] = Packed::largest_layouts(texts, length)
            .map(|layout| Key { layout, options: OutputOptions::default() });
        // First, as this refuses numbers that are too large to be multiplied.
        let mut plans =
            self.plans.bytes_needed(&self.device, &alone, |recorder| self.record_in(recorder, &alone))?;
        if !self.plans.has(&alone) {
            let record = |recorder: &mut Recorder| self.record_in(recorder, &shared);
            plans = plans.max(self.plans.bytes_needed(&self.device, &shared, record)?);
        }
        let embedding = self.projection.as_ref().map_or(0, Linear::out_features);
        let read_back = 4 * (texts * embedding) as u64;
        Ok(MemoryUse { plans, read_back, ..MemoryUse::default() })
    }

    fn record(&self, key: &Key) -> clipseg_tensor::Result<TextPlan> {
        let mut recorder = Recorder::new(&self.device);
        let tensors = self.record_in(&mut recorder, key)?;
        Ok(TextPlan { plan: recorder.finish()?, tensors })
    }

    fn record_in(&self, recorder: &mut Recorder, key: &Key) -> clipseg_tensor::Result<TextTensors> {
        let (shape, texts) = match key.layout {
            Layout::Padded { batch, length, .. } => ([batch, length], batch),
            Layout::Packed { texts, rows, .. } => ([1, rows], texts),
        };
        let ids = recorder.input_u32(&shape)?;
        let position_ids = recorder.input_u32(&shape)?;
        let pooled_rows = recorder.input_u32(&[texts])?;
        let mask = match key.layout {
            Layout::Padded { masked: true, .. } => Some(recorder.input_u32(&shape)?),
            _ => None,
        };
        let packing = match key.layout {
            Layout::Packed { rows, shared_tokens, max_seqlen, .. } => {
                let cu_seqlens = recorder.input_u32(&[texts + 1])?;
                let shared = match shared_tokens {
                    Some(tokens) => Some([recorder.input_u32(&[tokens])?, recorder.input_u32(&[rows])?]),
                    None => None,
                };
                Some(PackingTensors { cu_seqlens, max_seqlen, shared })
            }
            Layout::Padded { .. } => None,
        };

        let embedded = recorder.token_embedding(&ids, &position_ids, &self.tokens, &self.positions)?;
        let attention_mask = AttentionMask {
            causal: true,
            key_padding_mask: mask.as_ref(),
            packing: packing.as_ref().map(PackingTensors::packing),
        };
        let OutputOptions { hidden_states, attentions } = key.options;
        let trace = self.layers.record(
            recorder,
            embedded,
            self.config.num_hidden_layers,
            &attention_mask,
            |_| hidden_states,
            attentions,
        )?;
        let last = recorder.layer_norm(&trace.last, &self.final_layer_norm)?;
        let pooled = recorder.gather_rows(&last, &pooled_rows)?;
        let embedding = match &self.projection {
            Some(projection) => Some(recorder.linear(&pooled, projection)?),
            None => None,
        };
        let outputs = TowerTensors {
            last_hidden_state: last,
            pooler_output: pooled,
            embedding,
            hidden_states: trace.hidden_states.into_iter().flatten().collect(),
            attentions: trace.attentions,
        };
        for tensor in outputs.all() {
            recorder.output(tensor)?;
        }
        Ok(TextTensors { ids, position_ids, mask, packing, pooled_rows, outputs })
    }
}

fn padded(input: TextInput<'_>) -> Layout {
    let masked = input.attention_mask.is_some_and(|mask| mask.contains(&0));
    Layout::Padded { batch: input.input_ids.len() / input.length, length: input.length, masked }
}
