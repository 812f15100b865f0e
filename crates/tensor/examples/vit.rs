//! A vision transformer on this crate alone: CLIP's image encoder from a safetensors file. Two pictures are
//! compared by the angle between their embeddings.
//!
//! ```sh
//! cargo run --package clipseg-tensor --example vit
//! ```

use std::error::Error;

use clipseg_tensor::transformer::{Block, BlockSizes, load_layer_norm};
use clipseg_tensor::{
    Activation, AttentionMask, Device, DeviceOptions, LayerNorm, Linear, Plan, Recorder, Tensor, Weights,
};
use half::f16;
use safetensors::{Dtype, SafeTensors};

/// The sizes, which the file does not tell.
const IMAGE: usize = 128;
const PATCH: usize = 16;
const HIDDEN: usize = 192;
const LAYERS: usize = 6;
const EMBEDDING: usize = 64;
const SIZES: BlockSizes = BlockSizes {
    hidden: HIDDEN,
    intermediate: 576,
    heads: 6,
    activation: Activation::QuickGelu,
    epsilon: 1e-5,
};

/// Weights by name.
struct File<'a>(SafeTensors<'a>);

impl Weights for File<'_> {
    type Error = Box<dyn Error>;

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Self::Error> {
        let view = self.0.tensor(&format!("clip.{name}"))?;
        if view.shape() != shape {
            return Err(format!("{name} is {:?}, expected {shape:?}", view.shape()).into());
        }
        match view.dtype() {
            Dtype::F16 => Ok(view
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|&value| f16::from_le_bytes(value).to_f32())
                .collect()),
            Dtype::F32 => {
                Ok(view.data().as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect())
            }
            other => Err(format!("{name} is stored as {other:?}").into()),
        }
    }
}

/// The layers on the device.
pub struct Vit {
    device: Device,
    patch_embedding: Linear,
    class_embedding: Tensor,
    positions: Tensor,
    pre_layer_norm: LayerNorm,
    blocks: Vec<Block>,
    post_layer_norm: LayerNorm,
    projection: Linear,
}

impl Vit {
    /// Uploads the weights in a safetensors file.
    pub fn load(device: &Device, file: &[u8]) -> Result<Self, Box<dyn Error>> {
        let weights = File(SafeTensors::deserialize(file)?);
        let tower = "vision_model";
        let patch = weights
            .floats(&format!("{tower}.embeddings.patch_embedding.weight"), &[HIDDEN, 3, PATCH, PATCH])?;
        let class = weights.floats(&format!("{tower}.embeddings.class_embedding"), &[HIDDEN])?;
        let tokens = 1 + (IMAGE / PATCH).pow(2);
        let table =
            weights.floats(&format!("{tower}.embeddings.position_embedding.weight"), &[tokens, HIDDEN])?;
        let layer_norm =
            |name: &str| load_layer_norm(device, &weights, &format!("{tower}.{name}"), HIDDEN, 1e-5);
        let block =
            |layer: usize| Block::load(device, &weights, &format!("{tower}.encoder.layers.{layer}."), &SIZES);
        let projection = weights.floats("visual_projection.weight", &[EMBEDDING, HIDDEN])?;
        Ok(Self {
            device: device.clone(),
            // A convolution whose stride is its kernel's side: a linear layer of patches.
            patch_embedding: Linear::new(device, HIDDEN, 3 * PATCH * PATCH, &patch, None)?,
            class_embedding: device.upload(&[HIDDEN], &class)?,
            positions: device.upload(&[tokens, HIDDEN], &table)?,
            pre_layer_norm: layer_norm("pre_layrnorm")?,
            blocks: (0..LAYERS).map(block).collect::<Result<_, _>>()?,
            post_layer_norm: layer_norm("post_layernorm")?,
            projection: Linear::new(device, EMBEDDING, HIDDEN, &projection, None)?,
        })
    }

    /// Records the forward pass of `batch` images, once; it is run for any number of batches.
    pub fn record(&self, batch: usize) -> clipseg_tensor::Result<Recorded> {
        let mut recorder = Recorder::new(&self.device);
        let pixels = recorder.input(&[batch, 3, IMAGE, IMAGE])?;
        let patches = recorder.patchify(&pixels, PATCH)?;
        let patches = recorder.linear(&patches, &self.patch_embedding)?;
        let embedded = recorder.vision_embedding(&patches, &self.class_embedding, &self.positions)?;
        let mut hidden_states = recorder.layer_norm(&embedded, &self.pre_layer_norm)?;
        // What is dropped while recording gives its memory to what follows.
        drop((patches, embedded));
        for block in &self.blocks {
            hidden_states = block.pre_norm(&mut recorder, &hidden_states, &AttentionMask::default(), None)?;
        }
        // The class token of each image.
        let tokens = hidden_states.shape()[1];
        let rows: Vec<_> = (0..batch).map(|image| (image * tokens) as u32).collect();
        let rows = self.device.upload_u32(&[batch], &rows)?;
        let class_tokens = recorder.gather_rows(&hidden_states, &rows)?;
        let pooled = recorder.layer_norm(&class_tokens, &self.post_layer_norm)?;
        let embeddings = recorder.linear(&pooled, &self.projection)?;
        let embeddings = recorder.output(&embeddings)?;
        Ok(Recorded { pixels, embeddings, plan: recorder.finish()? })
    }
}

/// A recorded pass with its input and output.
pub struct Recorded {
    pixels: Tensor,
    embeddings: Tensor,
    plan: Plan,
}

impl Recorded {
    /// The embeddings `[batch, 64]` of normalised pixels `[batch, 3, 128, 128]`.
    pub async fn run(&self, pixel_values: &[f32]) -> clipseg_tensor::Result<Vec<f32>> {
        let reading = {
            let mut run = self.plan.run();
            run.write(&self.pixels, pixel_values)?;
            run.finish(&[&self.embeddings])
        };
        Ok(reading.await?.swap_remove(0).values)
    }
}

/// The cosine of the angle between two embeddings.
pub fn similarity(one: &[f32], other: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    product(one, other) / (product(one, one) * product(other, other)).sqrt()
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");
    let device = Device::open(&DeviceOptions::default())?;
    println!("{}", device.description());
    let vit = Vit::load(&device, &std::fs::read(format!("{folder}/model.safetensors"))?)?;
    let recorded = vit.record(2)?;

    let reference = std::fs::read(format!("{folder}/references/segmentation.safetensors"))?;
    let reference = SafeTensors::deserialize(&reference)?;
    let scene = reference.tensor("in.pixel_values")?;
    let scene: Vec<_> = scene.data().as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
    // A picture of shapes, and the same from top to bottom.
    let flipped =
        scene.chunks(IMAGE * IMAGE).flat_map(|channel| channel.chunks(IMAGE).rev().flatten().copied());
    let pixel_values: Vec<_> = scene.iter().copied().chain(flipped).collect();
    let embeddings = pollster::block_on(recorded.run(&pixel_values))?;
    let (one, other) = embeddings.split_at(EMBEDDING);
    println!("similarity to its mirror image: {:.3}", similarity(one, other));
    Ok(())
}
