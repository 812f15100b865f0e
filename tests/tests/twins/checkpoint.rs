//! Random small checkpoints: a drawn config, weights of its shapes, both written as a folder that the engine
//! loads.

use std::collections::{BTreeMap, HashMap};

use clipseg::{Activation, ClipSegConfig, ClipSegTextConfig, ClipSegVisionConfig};
use clipseg_tests::random;
use proptest::prelude::*;
use proptest::sample::select;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

/// Weights by name, row-major.
pub type Weights = BTreeMap<String, Vec<f32>>;

const ACTIVATIONS: [Activation; 5] =
    [Activation::QuickGelu, Activation::Gelu, Activation::GeluNew, Activation::Relu, Activation::Selu];

/// Configs that differ in every size and choice that the arithmetic knows.
pub fn configs() -> impl Strategy<Value = ClipSegConfig> {
    let tower = || {
        let head_size = select(vec![3usize, 4, 8, 12, 24]);
        (1usize..4, head_size, 1usize..4, 3usize..50, select(ACTIVATIONS.to_vec()), select(vec![1e-5, 1e-2]))
    };
    let decoder =
        (1usize..3, select(vec![2usize, 4, 7, 16]), 2usize..40, prop::collection::vec(0usize..8, 1..4));
    let patches = (select(vec![6usize, 8, 13]), 1usize..4, any::<bool>(), 0usize..3, 2usize..20);
    (tower(), tower(), decoder, patches).prop_map(|(text, vision, decoder, patches)| {
        let (patch_size, grid, complex, conditional, projection_dim) = patches;
        let (decoder_heads, decoder_head_size, decoder_intermediate_size, extract) = decoder;
        let (heads, head_size, layers, intermediate_size, hidden_act, layer_norm_eps) = text;
        let text_config = ClipSegTextConfig {
            vocab_size: 20,
            hidden_size: heads * head_size,
            num_attention_heads: heads,
            num_hidden_layers: layers,
            intermediate_size,
            hidden_act,
            layer_norm_eps,
            max_position_embeddings: 9,
            eos_token_id: 19,
            ..ClipSegTextConfig::default()
        };
        let (heads, head_size, layers, intermediate_size, hidden_act, layer_norm_eps) = vision;
        let vision_config = ClipSegVisionConfig {
            hidden_size: heads * head_size,
            num_attention_heads: heads,
            num_hidden_layers: layers,
            intermediate_size,
            hidden_act,
            layer_norm_eps,
            patch_size,
            image_size: patch_size * grid + 1,
            ..ClipSegVisionConfig::default()
        };
        // Every index that Python accepts, counted from either end: of the layers' outputs, and of the first
        // layer's input.
        let lowest = -(layers as isize + 2);
        let extract_layers: Vec<isize> =
            extract.iter().map(|layer| lowest + (layer % (2 * layers + 2)) as isize).collect();
        ClipSegConfig {
            projection_dim,
            reduce_dim: decoder_heads * decoder_head_size,
            decoder_num_attention_heads: decoder_heads,
            decoder_intermediate_size,
            // -1 is not a step's number.
            conditional_layer: (conditional % (extract_layers.len() + 1)) as isize - 1,
            extract_layers,
            use_complex_transposed_convolution: complex,
            ..ClipSegConfig::from_text_vision_configs(text_config, vision_config)
        }
    })
}

/// Name and shape of every tensor of a checkpoint.
fn shapes(config: &ClipSegConfig) -> Vec<(String, Vec<usize>)> {
    let (text, vision) = (&config.text_config, &config.vision_config);
    let mut shapes = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));

    let (projection, hidden) = (config.projection_dim, text.hidden_size);
    add("clip.logit_scale".into(), &[]);
    add("clip.text_projection.weight".into(), &[projection, hidden]);
    add("clip.text_model.embeddings.token_embedding.weight".into(), &[text.vocab_size, hidden]);
    add(
        "clip.text_model.embeddings.position_embedding.weight".into(),
        &[text.max_position_embeddings, hidden],
    );
    let mut norms = vec![("clip.text_model.final_layer_norm".to_owned(), hidden)];
    let mut blocks: Vec<(String, usize, usize)> = (0..text.num_hidden_layers)
        .map(|layer| (format!("clip.text_model.encoder.layers.{layer}."), hidden, text.intermediate_size))
        .collect();

    let (hidden, patch) = (vision.hidden_size, vision.patch_size);
    add("clip.visual_projection.weight".into(), &[projection, hidden]);
    let embeddings = "clip.vision_model.embeddings";
    add(format!("{embeddings}.class_embedding"), &[hidden]);
    add(format!("{embeddings}.patch_embedding.weight"), &[hidden, vision.num_channels, patch, patch]);
    add(format!("{embeddings}.position_embedding.weight"), &[vision.num_positions(), hidden]);
    norms
        .extend(["pre_layrnorm", "post_layernorm"].map(|name| (format!("clip.vision_model.{name}"), hidden)));
    blocks.extend((0..vision.num_hidden_layers).map(|layer| {
        (format!("clip.vision_model.encoder.layers.{layer}."), hidden, vision.intermediate_size)
    }));

    let width = config.reduce_dim;
    let mut linears = vec![
        ("decoder.film_mul".to_owned(), width, projection),
        ("decoder.film_add".to_owned(), width, projection),
    ];
    for step in 0..config.extract_layers.len() {
        linears.push((format!("decoder.reduces.{step}"), width, hidden));
        blocks.push((format!("decoder.layers.{step}."), width, config.decoder_intermediate_size));
    }
    let mut convolution = |name: &str, shape: &[usize], outputs: usize| {
        add(format!("decoder.transposed_convolution{name}.weight"), shape);
        add(format!("decoder.transposed_convolution{name}.bias"), &[outputs]);
    };
    if config.use_complex_transposed_convolution {
        let kernel = config.complex_kernel();
        convolution(".0", &[width, width, 3, 3], width);
        convolution(".2", &[width, width / 2, kernel, kernel], width / 2);
        convolution(".4", &[width / 2, 1, kernel, kernel], 1);
    } else {
        convolution("", &[width, 1, patch, patch], 1);
    }

    for (prefix, width, intermediate) in blocks {
        for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            linears.push((format!("{prefix}self_attn.{name}"), width, width));
        }
        linears.push((format!("{prefix}mlp.fc1"), intermediate, width));
        linears.push((format!("{prefix}mlp.fc2"), width, intermediate));
        norms.extend(["layer_norm1", "layer_norm2"].map(|name| (format!("{prefix}{name}"), width)));
    }
    for (name, outputs, inputs) in linears {
        add(format!("{name}.weight"), &[outputs, inputs]);
        add(format!("{name}.bias"), &[outputs]);
    }
    for (name, width) in norms {
        add(format!("{name}.weight"), &[width]);
        add(format!("{name}.bias"), &[width]);
    }
    shapes
}

/// Writes `config.json` and `model.safetensors` of random weights into `folder`, and returns the weights.
pub fn write(folder: &std::path::Path, config: &ClipSegConfig, seed: u64) -> Weights {
    let mut weights = Weights::new();
    let mut stored = Vec::new();
    for (place, (name, shape)) in shapes(config).into_iter().enumerate() {
        let mut values = random(seed.wrapping_add(place as u64), shape.iter().product());
        let fan_in: usize = shape.iter().skip(1).product();
        let (mean, scale) = match name.contains("norm") && name.ends_with("weight") {
            true => (1.0, 0.4),
            false if shape.len() < 2 => (0.0, 0.4),
            // Peaked, not saturated, attention.
            false => (0.0, 2.0 / (fan_in as f32).sqrt()),
        };
        values.iter_mut().for_each(|value| *value = mean + scale * *value);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        stored.push((name.clone(), shape, bytes));
        weights.insert(name, values);
    }
    let views = stored.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("shapes and bytes belong together"))
    });
    serialize_to_file(views, None::<HashMap<String, String>>, &folder.join("model.safetensors"))
        .expect("a temporary folder is writable");
    std::fs::write(folder.join("config.json"), config.to_json()).expect("a temporary folder is writable");
    weights
}
