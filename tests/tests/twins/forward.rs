//! CLIPSeg's forward pass, written with the CPU twins of the kernels alone.

use clipseg::ClipSegConfig;
use clipseg_shaders::kernels::{
    attention, bicubic_positions, depth_to_space, film, gather_rows, im2col_3x3, layer_norm, matmul_tile,
    patchify, token_embedding, vision_embedding,
};
use clipseg_shaders::{Activation, twins};

use crate::checkpoint::Weights;
use crate::inputs::Inputs;

/// What both the engine and the twins give, by name.
pub type Outputs = Vec<(String, Vec<f32>)>;

/// A model whose arithmetic is the twins'.
pub struct Forward<'a> {
    pub config: &'a ClipSegConfig,
    pub weights: &'a Weights,
}

/// The sizes of a transformer layer's input, and how it attends.
#[derive(Clone, Copy)]
struct Block<'a> {
    tokens: usize,
    width: usize,
    heads: usize,
    activation: Activation,
    epsilon: f64,
    causal: bool,
    key_mask: &'a [u32],
}

fn activation(activation: clipseg::Activation) -> Activation {
    match activation {
        clipseg::Activation::QuickGelu => Activation::QuickGelu,
        clipseg::Activation::Gelu => Activation::Gelu,
        clipseg::Activation::GeluNew => Activation::GeluNew,
        clipseg::Activation::Relu => Activation::Relu,
        clipseg::Activation::Selu => Activation::Selu,
        other => panic!("{other:?} has no twin"),
    }
}

impl Forward<'_> {
    /// Embeddings of the texts, everything of the vision tower and of the decoder, and the logits.
    pub fn outputs(&self, inputs: &Inputs) -> Outputs {
        let condition = self.text(inputs);
        let (mut outputs, hidden_states) = self.vision(inputs);
        let extracted = self.config.extract_layers.iter().rev();
        let entry = |layer: &isize| self.config.vision_config.hidden_state(*layer).expect("a legal config");
        let activations: Vec<_> = extracted.map(|layer| hidden_states[entry(layer)].clone()).collect();
        outputs.extend(named("vision.hidden_states", hidden_states));
        outputs.extend(self.decoder(&activations, &condition, inputs.grid));
        outputs.push(("conditional_embeddings".to_owned(), condition));
        outputs
    }

    fn weight(&self, name: &str) -> &[f32] {
        &self.weights[name]
    }

    /// `activation(input · weightᵀ + bias) + residual`; a bias where the checkpoint has one.
    fn linear(
        &self,
        name: &str,
        input: &[f32],
        columns: usize,
        residual: &[f32],
        then: Activation,
    ) -> Vec<f32> {
        let weight = self.weight(&format!("{name}.weight"));
        let bias = self.weights.get(&format!("{name}.bias")).map_or(&[][..], Vec::as_slice);
        let inner = weight.len() / columns;
        let rows = input.len() / inner;
        let params = matmul_tile::Params {
            rows: rows as u32,
            columns: columns as u32,
            inner: inner as u32,
            has_bias: u32::from(!bias.is_empty()),
            has_residual: u32::from(!residual.is_empty()),
        };
        let mut output = vec![f32::NAN; rows * columns];
        twins::matmul(&params, then, input, weight, bias, residual, &mut output);
        output
    }

    fn layer_norm(&self, name: &str, input: &[f32], width: usize, epsilon: f64) -> Vec<f32> {
        let rows = (input.len() / width) as u32;
        let params = layer_norm::Params { rows, columns: width as u32, epsilon: epsilon as f32 };
        let mut output = vec![f32::NAN; input.len()];
        let [weight, bias] = ["weight", "bias"].map(|part| self.weight(&format!("{name}.{part}")));
        twins::layer_norm(&params, input, weight, bias, &mut output);
        output
    }

    fn attention(&self, prefix: &str, input: &[f32], residual: &[f32], block: Block<'_>) -> Vec<f32> {
        let Block { tokens, width, heads, .. } = block;
        let projected = |name: &str| {
            self.linear(&format!("{prefix}self_attn.{name}"), input, width, &[], Activation::None)
        };
        let [queries, keys, values] = ["q_proj", "k_proj", "v_proj"].map(projected);
        let rows = queries.chunks(width).zip(keys.chunks(width)).zip(values.chunks(width));
        let query_key_value: Vec<f32> = rows.flat_map(|((q, k), v)| [q, k, v].concat()).collect();
        let head_size = width / heads;
        let params = attention::Params {
            tokens: tokens as u32,
            heads: heads as u32,
            head_size: head_size as u32,
            causal: u32::from(block.causal),
            has_mask: u32::from(!block.key_mask.is_empty()),
            has_cu_seqlens: 0,
            scale: 1.0 / (head_size as f32).sqrt(),
        };
        let mut attended = vec![f32::NAN; input.len()];
        twins::attention(&params, &query_key_value, block.key_mask, &[], &mut attended);
        self.linear(&format!("{prefix}self_attn.out_proj"), &attended, width, residual, Activation::None)
    }

    fn mlp(&self, prefix: &str, input: &[f32], residual: &[f32], block: Block<'_>) -> Vec<f32> {
        let name = format!("{prefix}mlp.fc1");
        let intermediate = self.weight(&format!("{name}.bias")).len();
        let inside = self.linear(&name, input, intermediate, &[], block.activation);
        self.linear(&format!("{prefix}mlp.fc2"), &inside, block.width, residual, Activation::None)
    }

    fn pre_norm(&self, prefix: &str, input: &[f32], block: Block<'_>) -> Vec<f32> {
        let norm = |name: &str, values: &[f32]| {
            self.layer_norm(&format!("{prefix}{name}"), values, block.width, block.epsilon)
        };
        let hidden = self.attention(prefix, &norm("layer_norm1", input), input, block);
        self.mlp(prefix, &norm("layer_norm2", &hidden), &hidden, block)
    }

    fn post_norm(&self, prefix: &str, input: &[f32], block: Block<'_>) -> Vec<f32> {
        let norm = |name: &str, values: &[f32]| {
            self.layer_norm(&format!("{prefix}{name}"), values, block.width, block.epsilon)
        };
        let hidden = norm("layer_norm1", &self.attention(prefix, input, input, block));
        norm("layer_norm2", &self.mlp(prefix, &hidden, &hidden, block))
    }

    /// The projected embeddings of the texts.
    fn text(&self, inputs: &Inputs) -> Vec<f32> {
        let config = &self.config.text_config;
        let (width, length) = (config.hidden_size, inputs.length);
        let position_ids: Vec<u32> = (0..inputs.ids.len()).map(|place| (place % length) as u32).collect();
        let tokens = inputs.ids.len() as u32;
        let mut hidden = vec![f32::NAN; inputs.ids.len() * width];
        let embeddings = "clip.text_model.embeddings";
        let params = token_embedding::Params {
            tokens,
            columns: width as u32,
            token_rows: config.vocab_size as u32,
            position_rows: config.max_position_embeddings as u32,
        };
        twins::token_embedding(
            &params,
            &inputs.ids,
            &position_ids,
            self.weight(&format!("{embeddings}.token_embedding.weight")),
            self.weight(&format!("{embeddings}.position_embedding.weight")),
            &mut hidden,
        );
        let block = Block {
            tokens: length,
            width,
            heads: config.num_attention_heads,
            activation: activation(config.hidden_act),
            epsilon: config.layer_norm_eps,
            causal: true,
            key_mask: &inputs.mask,
        };
        for layer in 0..config.num_hidden_layers {
            hidden = self.pre_norm(&format!("clip.text_model.encoder.layers.{layer}."), &hidden, block);
        }
        let last = self.layer_norm("clip.text_model.final_layer_norm", &hidden, width, config.layer_norm_eps);
        let texts = inputs.ids.chunks(length).enumerate();
        let ends = texts.map(|(text, ids)| {
            let end = ids.iter().position(|&id| id == config.eos_token_id).expect("a text has an end");
            (text * length + end) as u32
        });
        let pooled = rows(&last, &ends.collect::<Vec<_>>(), width);
        self.linear("clip.text_projection", &pooled, self.config.projection_dim, &[], Activation::None)
    }

    /// What the vision tower pools, and its hidden states.
    fn vision(&self, inputs: &Inputs) -> (Outputs, Vec<Vec<f32>>) {
        let config = &self.config.vision_config;
        let (width, patch) = (config.hidden_size, config.patch_size);
        let (grid_rows, grid_columns) = inputs.grid;
        let patches = grid_rows * grid_columns;
        let params = patchify::Params {
            images: inputs.batch as u32,
            channels: config.num_channels as u32,
            height: inputs.height as u32,
            width: inputs.width as u32,
            patch_size: patch as u32,
        };
        let mut cut = vec![f32::NAN; inputs.batch * patches * config.num_channels * patch * patch];
        twins::patchify(&params, &inputs.pixels, &mut cut);
        let name = "clip.vision_model.embeddings";
        let embedded = self.linear(&format!("{name}.patch_embedding"), &cut, width, &[], Activation::None);
        let mut positions = vec![f32::NAN; (1 + patches) * width];
        let params = bicubic_positions::Params {
            side: config.grid() as u32,
            rows: grid_rows as u32,
            columns: grid_columns as u32,
            width: width as u32,
        };
        let table = self.weight(&format!("{name}.position_embedding.weight"));
        twins::bicubic_positions(&params, table, &mut positions);
        let mut hidden = vec![f32::NAN; inputs.batch * (1 + patches) * width];
        twins::vision_embedding(
            &vision_embedding::Params {
                images: inputs.batch as u32,
                patches: patches as u32,
                columns: width as u32,
            },
            &embedded,
            self.weight(&format!("{name}.class_embedding")),
            &positions,
            &mut hidden,
        );
        let epsilon = config.layer_norm_eps;
        let block = Block {
            tokens: 1 + patches,
            width,
            heads: config.num_attention_heads,
            activation: activation(config.hidden_act),
            epsilon,
            causal: false,
            key_mask: &[],
        };
        let mut states = vec![self.layer_norm("clip.vision_model.pre_layrnorm", &hidden, width, epsilon)];
        for layer in 0..config.num_hidden_layers {
            let prefix = format!("clip.vision_model.encoder.layers.{layer}.");
            states.push(self.pre_norm(&prefix, &states[layer], block));
        }
        let class_rows: Vec<u32> = (0..inputs.batch).map(|image| (image * (1 + patches)) as u32).collect();
        let class_token = rows(&states[config.num_hidden_layers], &class_rows, width);
        let pooled = self.layer_norm("clip.vision_model.post_layernorm", &class_token, width, epsilon);
        let projection = self.config.projection_dim;
        let embedding = self.linear("clip.visual_projection", &pooled, projection, &[], Activation::None);
        (vec![("pooler_output".to_owned(), pooled), ("pooled_output".to_owned(), embedding)], states)
    }

    /// The decoder's hidden states and the logits.
    fn decoder(&self, activations: &[Vec<f32>], condition: &[f32], grid: (usize, usize)) -> Outputs {
        let config = self.config;
        let (width, tokens) = (config.reduce_dim, 1 + grid.0 * grid.1);
        let pairs = condition.len() / config.projection_dim;
        let [gamma, beta] = ["decoder.film_mul", "decoder.film_add"]
            .map(|name| self.linear(name, condition, width, &[], Activation::None));
        let block = Block {
            tokens,
            width,
            heads: config.decoder_num_attention_heads,
            activation: Activation::Relu,
            epsilon: config.vision_config.layer_norm_eps,
            causal: false,
            key_mask: &[],
        };
        let mut states: Vec<Vec<f32>> = Vec::new();
        for (step, activation) in activations.iter().enumerate() {
            let reduced =
                self.linear(&format!("decoder.reduces.{step}"), activation, width, &[], Activation::None);
            let previous = states.last().map_or(&[][..], Vec::as_slice);
            let params = film::Params {
                pairs: pairs as u32,
                scenes: pairs as u32,
                tokens: tokens as u32,
                columns: width as u32,
                has_previous: u32::from(step > 0),
                conditioned: u32::from(Some(step) == config.conditional_step()),
            };
            let mut input = vec![f32::NAN; reduced.len()];
            twins::film(&params, &reduced, previous, &gamma, &beta, &mut input);
            states.push(self.post_norm(&format!("decoder.layers.{step}."), &input, block));
        }
        let logits = self.upsample(&states[states.len() - 1], pairs, grid);
        let mut outputs = named("decoder.hidden_states", states);
        outputs.push(("logits".to_owned(), logits));
        outputs
    }

    fn upsample(&self, tokens: &[f32], pairs: usize, grid: (usize, usize)) -> Vec<f32> {
        let (width, (height, columns)) = (self.config.reduce_dim, grid);
        let name = "decoder.transposed_convolution";
        let transposed = |name: &str, input: &[f32], (height, width), stride: usize, channels: usize| {
            let params = depth_to_space::Params {
                images: pairs as u32,
                height: height as u32,
                width: width as u32,
                outer: stride as u32,
                inner: 1,
                channels: channels as u32,
            };
            let mut output = vec![f32::NAN; pairs * height * width * stride * stride * channels];
            let [weight, bias] = ["weight", "bias"].map(|part| self.weight(&format!("{name}.{part}")));
            twins::transposed_conv2d(&params, input, weight, bias, &mut output);
            output
        };
        if !self.config.use_complex_transposed_convolution {
            let images = tokens.chunks((1 + height * columns) * width);
            let maps: Vec<f32> = images.flat_map(|image| &image[width..]).copied().collect();
            return transposed(name, &maps, grid, self.config.vision_config.patch_size, 1);
        }
        let params = im2col_3x3::Params {
            images: pairs as u32,
            height: height as u32,
            width: columns as u32,
            channels: width as u32,
            skip: 1,
        };
        let mut maps = vec![f32::NAN; pairs * height * columns * width];
        let [weight, bias] = ["weight", "bias"].map(|part| self.weight(&format!("{name}.0.{part}")));
        twins::conv2d_3x3(&params, tokens, weight, bias, &mut maps);
        let relu = |values: &mut Vec<f32>| values.iter_mut().for_each(|value| *value = value.max(0.0));
        relu(&mut maps);
        let kernel = self.config.complex_kernel();
        let mut maps = transposed(&format!("{name}.2"), &maps, grid, kernel, width / 2);
        relu(&mut maps);
        transposed(&format!("{name}.4"), &maps, (height * kernel, columns * kernel), kernel, 1)
    }
}

fn rows(values: &[f32], places: &[u32], width: usize) -> Vec<f32> {
    let mut gathered = vec![f32::NAN; places.len() * width];
    let params = gather_rows::Params {
        count: places.len() as u32,
        columns: width as u32,
        input_rows: (values.len() / width) as u32,
    };
    twins::gather_rows(&params, values, places, &mut gathered);
    gathered
}

/// Each of `states` under its number.
pub fn named(name: &str, states: Vec<Vec<f32>>) -> Outputs {
    states.into_iter().enumerate().map(|(place, state)| (format!("{name}.{place}"), state)).collect()
}
