//! The vision tower.

mod encoded;
mod input;
mod memory;

use std::sync::Arc;

use clipseg_tensor::transformer::{BlockSizes, load_layer_norm};
use clipseg_tensor::{
    Array, AttentionMask, Device, LayerNorm, Linear, Plan, PlanCache, Recorder, Tensor, Weights,
};

pub use self::encoded::EncodedImage;
pub use self::input::ImageInput;
use crate::prefix::Tower;
use crate::tower::{Layers, OutputOptions, TowerOutput, TowerTensors};
use crate::{Checkpoint, ClipSegVisionConfig, Error, Result, Sampled};

/// Most plans kept, one for each batch and image size.
const PLANS: usize = 4;

/// CLIP's vision tower with its projection: pixels in, activations or embeddings out.
pub struct VisionEncoder {
    device: Device,
    config: ClipSegVisionConfig,
    patch_embedding: Linear,
    class_embedding: Tensor,
    positions: Tensor,
    pre_layer_norm: LayerNorm,
    layers: Layers,
    post_layer_norm: LayerNorm,
    projection: Option<Linear>,
    /// Indices of the hidden states that an [`EncodedImage`] holds, in the order in which the decoder uses
    /// them: the last of `extract_layers` first.
    extracted: Vec<usize>,
    fingerprint: Arc<str>,
    embedding_fingerprint: String,
    plans: PlanCache<Key, VisionPlan>,
}

#[derive(Clone, PartialEq)]
struct Key {
    batch: usize,
    height: usize,
    width: usize,
    outputs: PlanOutputs,
}

/// What a plan computes; nothing else is recorded.
#[derive(Clone, Copy, PartialEq)]
enum PlanOutputs {
    Activations,
    Embedding,
    All(OutputOptions),
}

struct VisionPlan {
    plan: Plan,
    tensors: VisionTensors,
}

struct VisionTensors {
    pixels: Tensor,
    /// Where the grid is not the trained one. It is kept so that its memory counts.
    resized_positions: Option<Tensor>,
    /// The outputs of the extract layers, as in [`EncodedImage::activations`].
    activations: Vec<Tensor>,
    outputs: Option<TowerTensors>,
}

impl VisionEncoder {
    /// Loads the tower from a checkpoint, together with its projection to `projection_dim` values unless that
    /// is `None`. `prefix` is that of the whole CLIP's tensors (`clip.` or nothing); a checkpoint of the
    /// tower alone is accepted too. [`encode`](Self::encode) keeps the outputs of `extract_layers`, counted
    /// as in [`ClipSegVisionConfig::hidden_state`].
    ///
    /// # Errors
    /// An impossible config, a layer that does not exist, a missing or misshapen tensor, or an error of the
    /// device.
    pub fn load(
        device: &Device,
        checkpoint: &Checkpoint,
        prefix: &str,
        config: &ClipSegVisionConfig,
        projection_dim: Option<usize>,
        extract_layers: &[isize],
    ) -> Result<Self> {
        config.validate()?;
        let extracted = extract_layers.iter().rev().map(|&layer| {
            config
                .hidden_state(layer)
                .ok_or_else(|| Error::config(format!("extract_layers: {layer} does not exist")))
        });
        let extracted = extracted.collect::<Result<Vec<_>>>()?;
        let hidden = config.hidden_size;
        let tower = checkpoint.tower_prefix(prefix, Tower::Vision);
        let patch = config.patch_size;
        let inner = config.num_channels * patch * patch;
        let shape = [hidden, config.num_channels, patch, patch];
        let weights = Sampled::new(checkpoint);
        let patch_weight = weights.floats(&format!("{tower}embeddings.patch_embedding.weight"), &shape)?;
        let class_embedding = weights.floats(&format!("{tower}embeddings.class_embedding"), &[hidden])?;
        let table = [config.num_positions(), hidden];
        let positions = weights.floats(&format!("{tower}embeddings.position_embedding.weight"), &table)?;
        let epsilon = config.layer_norm_eps as f32;
        let layer_norm =
            |name: &str| load_layer_norm(device, &weights, &format!("{tower}{name}"), hidden, epsilon);
        let sizes = BlockSizes {
            hidden,
            intermediate: config.intermediate_size,
            heads: config.num_attention_heads,
            activation: config.hidden_act.into(),
            epsilon,
        };
        let (patch_embedding, class_embedding, positions) = (
            Linear::new(device, hidden, inner, &patch_weight, None)?,
            device.upload(&[hidden], &class_embedding)?,
            device.upload(&table, &positions)?,
        );
        // The checkpoints spell it so.
        let pre_layer_norm = layer_norm("pre_layrnorm")?;
        let layers = Layers::load(device, &weights, &tower, config.num_hidden_layers, &sizes)?;
        // Of the activations, which the last norm and the projection do not change.
        let settings = settings(config);
        let fingerprint = weights.fingerprint(&format!("{settings} {extracted:?}")).into();
        let post_layer_norm = layer_norm("post_layernorm")?;
        let projection = match projection_dim {
            Some(width) => {
                let weight =
                    weights.floats(&format!("{prefix}visual_projection.weight"), &[width, hidden])?;
                Some(Linear::new(device, width, hidden, &weight, None)?)
            }
            None => None,
        };
        let embedding_fingerprint = weights.fingerprint(&settings);
        Ok(Self {
            device: device.clone(),
            config: config.clone(),
            patch_embedding,
            class_embedding,
            positions,
            pre_layer_norm,
            layers,
            post_layer_norm,
            projection,
            extracted,
            fingerprint,
            embedding_fingerprint,
            plans: PlanCache::new(device, PLANS),
        })
    }

    /// Encodes images for the decoder. Layers beyond the last extract layer are not run.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub async fn encode(&self, input: ImageInput<'_>) -> Result<EncodedImage> {
        let plan = self.prepare(input, PlanOutputs::Activations)?;
        let (activations, submitted) = {
            let mut run = plan.plan.run();
            run.write(&plan.tensors.pixels, input.pixel_values)?;
            (self.copy_activations(&plan, &mut run)?, run.submitted())
        };
        submitted.await?;
        Ok(self.encoded(activations, self.grid(input.height, input.width), input.batch))
    }

    /// As [`encode`](Self::encode), for pixel values that are already on the device,
    /// `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub async fn encode_on_device(&self, pixels: &Tensor) -> Result<EncodedImage> {
        let &[batch, channels, height, width] = pixels.shape() else {
            let message = format!("{pixels:?}: pixel values are [batch, channels, height, width]");
            return Err(Error::Input(message));
        };
        if channels != self.config.num_channels || batch == 0 {
            let expected = self.config.num_channels;
            return Err(Error::Input(format!("{pixels:?}: the model reads images of {expected} channels")));
        }
        let plan = self.plan_for(Key { batch, height, width, outputs: PlanOutputs::Activations })?;
        let (activations, submitted) = {
            let mut run = plan.plan.run();
            run.copy_in(pixels, &plan.tensors.pixels)?;
            (self.copy_activations(&plan, &mut run)?, run.submitted())
        };
        submitted.await?;
        Ok(self.encoded(activations, self.grid(height, width), batch))
    }

    /// The projected embeddings of images, not normalised, `[batch, projection_dim]`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::Input`] when the tower was loaded without its projection.
    pub async fn embed(&self, input: ImageInput<'_>) -> Result<Array> {
        let plan = self.prepare(input, PlanOutputs::Embedding)?;
        let Some(embedding) = plan.tensors.outputs.as_ref().and_then(|outputs| outputs.embedding.as_ref())
        else {
            return Err(Error::Input("this vision tower was loaded without its projection".to_owned()));
        };
        let reading = {
            let mut run = plan.plan.run();
            run.write(&plan.tensors.pixels, input.pixel_values)?;
            run.finish(&[embedding])
        };
        Ok(reading.await?.swap_remove(0))
    }

    /// All outputs of the tower, as from transformers' `CLIPSegVisionModel`, and the image encoded for the
    /// decoder.
    ///
    /// # Errors
    /// [`Error::Input`] when the number of pixels does not match the sizes, or the image is smaller than a
    /// patch; errors of the device.
    pub async fn forward(
        &self,
        input: ImageInput<'_>,
        options: OutputOptions,
    ) -> Result<(TowerOutput, EncodedImage)> {
        let plan = self.prepare(input, PlanOutputs::All(options))?;
        let outputs = plan.tensors.outputs.as_ref();
        let outputs =
            outputs.ok_or_else(|| Error::Input("the plan was recorded without outputs".to_owned()))?;
        let (activations, reading) = {
            let mut run = plan.plan.run();
            run.write(&plan.tensors.pixels, input.pixel_values)?;
            (self.copy_activations(&plan, &mut run)?, run.finish(&outputs.all()))
        };
        let arrays = reading.await?;
        let image = self.encoded(activations, self.grid(input.height, input.width), input.batch);
        Ok((outputs.sort(arrays), image))
    }

    fn copy_activations(&self, plan: &VisionPlan, run: &mut clipseg_tensor::Run<'_>) -> Result<Vec<Tensor>> {
        let mut copies = Vec::with_capacity(plan.tensors.activations.len());
        for activation in &plan.tensors.activations {
            let copy = self.device.uninit(activation.shape())?;
            run.copy_out(activation, &copy)?;
            copies.push(copy);
        }
        Ok(copies)
    }

    fn grid(&self, height: usize, width: usize) -> (usize, usize) {
        (height / self.config.patch_size, width / self.config.patch_size)
    }

    fn prepare(&self, input: ImageInput<'_>, outputs: PlanOutputs) -> Result<Arc<VisionPlan>> {
        input.check(self.config.num_channels)?;
        let ImageInput { batch, height, width, .. } = input;
        self.plan_for(Key { batch, height, width, outputs })
    }

    fn plan_for(&self, key: Key) -> Result<Arc<VisionPlan>> {
        let (Key { height, width, .. }, patch) = (&key, self.config.patch_size);
        let (height, width) = (*height, *width);
        if height < patch || width < patch {
            return Err(Error::Input(format!(
                "pixel_values: {height} by {width} pixels are less than one patch of {patch} by {patch}"
            )));
        }
        Ok(self.plans.get_or_record(&key, || self.record(&key))?)
    }

    fn record(&self, key: &Key) -> clipseg_tensor::Result<VisionPlan> {
        let mut recorder = Recorder::new(&self.device);
        let tensors = self.record_in(&mut recorder, key)?;
        Ok(VisionPlan { plan: recorder.finish()?, tensors })
    }

    fn record_in(&self, recorder: &mut Recorder, key: &Key) -> clipseg_tensor::Result<VisionTensors> {
        let pixels = recorder.input(&[key.batch, self.config.num_channels, key.height, key.width])?;
        let resized_positions = self.resized_positions(recorder, key)?;
        let embedded = self.record_embedding(recorder, &pixels, resized_positions.as_ref())?;
        let hidden_states = recorder.layer_norm(&embedded, &self.pre_layer_norm)?;
        drop(embedded);

        let OutputOptions { hidden_states: keep_all, attentions } = match key.outputs {
            PlanOutputs::All(options) => options,
            PlanOutputs::Activations | PlanOutputs::Embedding => OutputOptions::default(),
        };
        let extracts = key.outputs != PlanOutputs::Embedding;
        let deepest = self.extracted.iter().copied().max().unwrap_or(0);
        let depth =
            if key.outputs == PlanOutputs::Activations { deepest } else { self.config.num_hidden_layers };
        let keep = |state: usize| keep_all || (extracts && self.extracted.contains(&state));
        let trace = self.layers.record(
            recorder,
            hidden_states,
            depth,
            &AttentionMask::default(),
            keep,
            attentions,
        )?;
        let mut activations = Vec::new();
        if extracts {
            for &state in &self.extracted {
                if let Some(activation) = trace.hidden_states.get(state).and_then(Option::as_ref) {
                    activations.push(recorder.output(activation)?);
                }
            }
        }
        if key.outputs == PlanOutputs::Activations {
            return Ok(VisionTensors { pixels, resized_positions, activations, outputs: None });
        }

        let tokens = trace.last.shape()[1] as u32;
        let class_rows: Vec<u32> = (0..key.batch as u32).map(|image| image * tokens).collect();
        let class_rows = recorder.constant_u32(&[key.batch], &class_rows)?;
        let class_token = recorder.gather_rows(&trace.last, &class_rows)?;
        let pooled = recorder.layer_norm(&class_token, &self.post_layer_norm)?;
        let embedding = match &self.projection {
            Some(projection) => Some(recorder.linear(&pooled, projection)?),
            None => None,
        };
        let kept = if keep_all { trace.hidden_states } else { Vec::new() };
        let outputs = TowerTensors {
            last_hidden_state: trace.last,
            pooler_output: pooled,
            embedding,
            hidden_states: kept.into_iter().flatten().collect(),
            attentions: trace.attentions,
        };
        for tensor in outputs.all() {
            recorder.output(tensor)?;
        }
        Ok(VisionTensors { pixels, resized_positions, activations, outputs: Some(outputs) })
    }

    fn record_embedding(
        &self,
        recorder: &mut Recorder,
        pixels: &Tensor,
        resized_positions: Option<&Tensor>,
    ) -> clipseg_tensor::Result<Tensor> {
        let patches = recorder.patchify(pixels, self.config.patch_size)?;
        let patches = recorder.linear(&patches, &self.patch_embedding)?;
        let positions = resized_positions.unwrap_or(&self.positions);
        recorder.vision_embedding(&patches, &self.class_embedding, positions)
    }

    /// The position table for an image's grid; `None` for the trained grid.
    fn resized_positions(&self, recorder: &Recorder, key: &Key) -> clipseg_tensor::Result<Option<Tensor>> {
        let (rows, columns) = self.grid(key.height, key.width);
        // transformers 4.37 decides by the number of patches whether to resize, later releases by the grid.
        // They differ only for a grid that is not the trained one but has as many patches.
        let trained = self.config.grid();
        if (rows, columns) == (trained, trained) {
            return Ok(None);
        }
        // The positions are the same for every image of this size, so they are resized only once, while the
        // plan is recorded.
        let mut resizing = recorder.another();
        let positions = resizing.bicubic_positions(&self.positions, rows, columns)?;
        if !resizing.is_planning() {
            resizing.finish()?.run().submit()?;
        }
        Ok(Some(positions))
    }
}

/// All but the weights that the outputs of layers depend on.
fn settings(config: &ClipSegVisionConfig) -> String {
    let ClipSegVisionConfig { patch_size, num_attention_heads, hidden_act, layer_norm_eps, .. } = config;
    format!("{patch_size} {num_attention_heads} {hidden_act:?} {layer_norm_eps}")
}
