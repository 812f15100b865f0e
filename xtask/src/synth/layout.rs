//! Which tensors a CLIPSeg checkpoint holds, and how each is drawn. The twin of `tools/fixtures/synth.py`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::numbers::Recipe;

/// The fields of `config.json` that shapes follow from.
#[derive(Deserialize)]
pub struct Config {
    text_config: TextConfig,
    vision_config: VisionConfig,
    projection_dim: usize,
    extract_layers: Vec<usize>,
    reduce_dim: usize,
    decoder_intermediate_size: usize,
}

#[derive(Deserialize)]
struct TextConfig {
    vocab_size: usize,
    max_position_embeddings: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
}

#[derive(Deserialize)]
struct VisionConfig {
    num_channels: usize,
    image_size: usize,
    patch_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
}

/// Name → shape.
pub type Shapes = BTreeMap<String, Vec<usize>>;

impl Config {
    /// Every tensor of a checkpoint with the complex transposed convolution.
    pub fn shapes(&self) -> Shapes {
        let mut shapes = Shapes::new();
        let (text, vision) = (&self.text_config, &self.vision_config);
        shapes.insert("clip.logit_scale".into(), vec![]);

        let width = text.hidden_size;
        let embeddings = "clip.text_model.embeddings";
        shapes.insert(format!("{embeddings}.token_embedding.weight"), vec![text.vocab_size, width]);
        shapes.insert(
            format!("{embeddings}.position_embedding.weight"),
            vec![text.max_position_embeddings, width],
        );
        layers(&mut shapes, "clip.text_model.encoder", text.num_hidden_layers, width, text.intermediate_size);
        norm(&mut shapes, "clip.text_model.final_layer_norm", width);
        shapes.insert("clip.text_projection.weight".into(), vec![self.projection_dim, width]);

        let (width, patch) = (vision.hidden_size, vision.patch_size);
        let positions = (vision.image_size / patch).pow(2) + 1;
        let embeddings = "clip.vision_model.embeddings";
        shapes.insert(format!("{embeddings}.class_embedding"), vec![width]);
        shapes.insert(
            format!("{embeddings}.patch_embedding.weight"),
            vec![width, vision.num_channels, patch, patch],
        );
        shapes.insert(format!("{embeddings}.position_embedding.weight"), vec![positions, width]);
        norm(&mut shapes, "clip.vision_model.pre_layrnorm", width);
        layers(
            &mut shapes,
            "clip.vision_model.encoder",
            vision.num_hidden_layers,
            width,
            vision.intermediate_size,
        );
        norm(&mut shapes, "clip.vision_model.post_layernorm", width);
        shapes.insert("clip.visual_projection.weight".into(), vec![self.projection_dim, width]);

        let reduce = self.reduce_dim;
        linear(&mut shapes, "decoder.film_mul", self.projection_dim, reduce);
        linear(&mut shapes, "decoder.film_add", self.projection_dim, reduce);
        for step in 0..self.extract_layers.len() {
            linear(&mut shapes, &format!("decoder.reduces.{step}"), width, reduce);
        }
        layers(&mut shapes, "decoder", self.extract_layers.len(), reduce, self.decoder_intermediate_size);
        for (place, weight, bias) in [
            (0, vec![reduce, reduce, 3, 3], reduce),
            (2, vec![reduce, reduce / 2, patch / 4, patch / 4], reduce / 2),
            (4, vec![reduce / 2, 1, patch / 4, patch / 4], 1),
        ] {
            shapes.insert(format!("decoder.transposed_convolution.{place}.weight"), weight);
            shapes.insert(format!("decoder.transposed_convolution.{place}.bias"), vec![bias]);
        }
        shapes
    }
}

fn linear(shapes: &mut Shapes, name: &str, inputs: usize, outputs: usize) {
    shapes.insert(format!("{name}.weight"), vec![outputs, inputs]);
    shapes.insert(format!("{name}.bias"), vec![outputs]);
}

fn norm(shapes: &mut Shapes, name: &str, width: usize) {
    shapes.insert(format!("{name}.weight"), vec![width]);
    shapes.insert(format!("{name}.bias"), vec![width]);
}

fn layers(shapes: &mut Shapes, prefix: &str, count: usize, width: usize, intermediate: usize) {
    for layer in 0..count {
        let prefix = format!("{prefix}.layers.{layer}");
        for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            linear(shapes, &format!("{prefix}.self_attn.{projection}"), width, width);
        }
        linear(shapes, &format!("{prefix}.mlp.fc1"), width, intermediate);
        linear(shapes, &format!("{prefix}.mlp.fc2"), intermediate, width);
        norm(shapes, &format!("{prefix}.layer_norm1"), width);
        norm(shapes, &format!("{prefix}.layer_norm2"), width);
    }
}

/// Scales chosen so that attention is peaked but not saturated, and logits depend on both image and prompt.
pub fn recipe(name: &str, shape: &[usize]) -> Recipe {
    let decoder = name.starts_with("decoder.");
    let row_len: usize = shape.iter().skip(1).product();
    let rows = Recipe {
        channel_stride: row_len,
        channels: shape.first().copied().unwrap_or(1),
        ..Recipe::default()
    };
    let columns = Recipe { channels: shape.last().copied().unwrap_or(1), ..Recipe::default() };
    let plain = |mean, deviation| Recipe { mean, deviation, ..Recipe::default() };

    if name == "clip.logit_scale" {
        return plain(4.6052, 0.01);
    }
    if name.ends_with("pre_layrnorm.bias") {
        return Recipe { deviation: 0.2, large_factor: 40.0, ..rows };
    }
    if name.contains("norm") {
        if name.ends_with("bias") {
            return plain(0.0, 0.1);
        }
        // Trained gains are small where the stream is large, else these channels would drown the others.
        let inside = name.contains(".layers.") && !decoder;
        return Recipe { mean: 1.0, deviation: 0.2, large_factor: if inside { 0.2 } else { 1.0 }, ..rows };
    }
    if name.ends_with("film_mul.bias") {
        return plain(1.0, 0.3);
    }
    if name.ends_with("transposed_convolution.4.bias") {
        return plain(4.0, 0.1);
    }
    if name.ends_with("bias") {
        return plain(0.0, 0.1);
    }
    if name.ends_with("vision_model.embeddings.position_embedding.weight") {
        return plain(0.0, 0.5);
    }
    if name.ends_with("text_model.embeddings.position_embedding.weight") {
        return Recipe { deviation: 0.3, large_factor: 10.0, ..columns };
    }
    if name.ends_with("token_embedding.weight") {
        return plain(0.0, 0.6);
    }
    if name.ends_with("class_embedding") {
        return plain(0.0, 1.0);
    }
    if name.contains("transposed_convolution") {
        return convolution(name, shape);
    }
    let fan_in = (row_len as f64).sqrt();
    if name.contains("q_proj") || name.contains("k_proj") {
        // Patches resemble each other more than words do, so the vision tower needs sharper scores.
        let sharpness = match () {
            () if decoder => 1.2,
            () if name.contains("vision_model") => 2.2,
            () => 1.5,
        };
        return plain(0.0, sharpness / fan_in);
    }
    if name.contains("film_") {
        return plain(0.0, 4.0 / fan_in);
    }
    if name.contains("reduces") {
        return plain(0.0, 0.5 / fan_in);
    }
    if name.contains("projection") {
        return plain(0.0, 0.5 / fan_in);
    }
    if name.contains("out_proj") || name.contains("fc2") {
        let large_factor = if decoder { 1.0 } else { 5.0 };
        return Recipe { deviation: 0.6 / fan_in, large_factor, ..rows };
    }
    plain(0.0, 1.0 / fan_in)
}

/// Mostly the same weight all over a kernel, so that the logits are smooth; the rest tells the places apart.
fn convolution(name: &str, shape: &[usize]) -> Recipe {
    let shared_run = shape[2] * shape[3];
    if name.ends_with(".0.weight") {
        let deviation = 1.0 / ((shape[1] * shared_run) as f64).sqrt();
        return Recipe {
            deviation: 0.5 * deviation,
            shared_run,
            shared_deviation: 0.8 * deviation,
            ..Recipe::default()
        };
    }
    // The stride is the kernel, so an output reads one input position; stored [in, out, height, width].
    let gain = if name.ends_with(".4.weight") { 3.0 } else { 1.4 };
    let deviation = gain / (shape[0] as f64).sqrt();
    Recipe { deviation: 0.008 * deviation, shared_run, shared_deviation: deviation, ..Recipe::default() }
}
