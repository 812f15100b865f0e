//! Lists all tensors of a CLIPSeg: their names in transformers, their shapes, and where they are in
//! checkpoints of the original repositories.
//!
//! The mapping is that of transformers' `convert_clipseg_original_pytorch_to_hf.py` (v4.37.2), in the
//! opposite direction: from each tensor that a checkpoint must have to the original that it is made from.

use clipseg_clip::ClipSegConfig;

/// How a tensor is made from the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Unchanged.
    Same,
    /// By exchanging rows and columns.
    Transposed,
    /// One third of the original's rows: 0 for queries, 1 for keys, 2 for values.
    Third(usize),
}

/// A tensor that a checkpoint must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Name in transformers; for CLIP's tensors without the `clip.` in front.
    pub name: String,
    pub shape: Vec<usize>,
    /// Name in openai/CLIP or timojl/clipseg.
    pub original: String,
    pub origin: Origin,
}

/// Builds the list for CLIP or for the decoder.
#[derive(Default)]
struct List(Vec<Wanted>);

impl List {
    fn add(&mut self, name: impl Into<String>, original: impl Into<String>, shape: &[usize]) {
        self.add_as(Origin::Same, name, original, shape);
    }

    fn add_as(
        &mut self,
        origin: Origin,
        name: impl Into<String>,
        original: impl Into<String>,
        shape: &[usize],
    ) {
        self.0.push(Wanted { name: name.into(), shape: shape.to_vec(), original: original.into(), origin });
    }

    /// Adds a weight and its bias, which has one value for each row of the weight.
    fn affine(&mut self, name: &str, original: &str, shape: &[usize]) {
        self.add(format!("{name}.weight"), format!("{original}.weight"), shape);
        self.add(format!("{name}.bias"), format!("{original}.bias"), &shape[..1]);
    }

    /// Adds one transformer layer of either repository. `names` are the original names of attention, two
    /// norms and two linear layers.
    fn layer(&mut self, name: &str, original: &str, names: [&str; 5], width: usize, inner: usize) {
        let [attention, norm1, norm2, linear1, linear2] = names.map(|name| format!("{original}.{name}"));
        for (third, part) in ["q", "k", "v"].into_iter().enumerate() {
            for (kind, shape) in [("weight", &[width, width][..]), ("bias", &[width])] {
                self.add_as(
                    Origin::Third(third),
                    format!("{name}.self_attn.{part}_proj.{kind}"),
                    format!("{attention}.in_proj_{kind}"),
                    shape,
                );
            }
        }
        self.affine(&format!("{name}.self_attn.out_proj"), &format!("{attention}.out_proj"), &[width, width]);
        self.affine(&format!("{name}.layer_norm1"), &norm1, &[width]);
        self.affine(&format!("{name}.layer_norm2"), &norm2, &[width]);
        self.affine(&format!("{name}.mlp.fc1"), &linear1, &[inner, width]);
        self.affine(&format!("{name}.mlp.fc2"), &linear2, &[width, inner]);
    }
}

/// The tensors of CLIP, with OpenAI's names for the originals.
pub(crate) fn clip(config: &ClipSegConfig) -> Vec<Wanted> {
    const NAMES: [&str; 5] = ["attn", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj"];
    let (text, vision) = (&config.text_config, &config.vision_config);
    let mut list = List::default();
    list.add("logit_scale", "logit_scale", &[]);
    for (name, original, width) in [
        ("text_projection.weight", "text_projection", text.hidden_size),
        ("visual_projection.weight", "visual.proj", vision.hidden_size),
    ] {
        list.add_as(Origin::Transposed, name, original, &[config.projection_dim, width]);
    }

    let width = text.hidden_size;
    let embeddings = "text_model.embeddings";
    list.add(
        format!("{embeddings}.token_embedding.weight"),
        "token_embedding.weight",
        &[text.vocab_size, width],
    );
    let positions = [text.max_position_embeddings, width];
    list.add(format!("{embeddings}.position_embedding.weight"), "positional_embedding", &positions);
    for layer in 0..text.num_hidden_layers {
        let name = format!("text_model.encoder.layers.{layer}");
        list.layer(&name, &format!("transformer.resblocks.{layer}"), NAMES, width, text.intermediate_size);
    }
    list.affine("text_model.final_layer_norm", "ln_final", &[width]);

    let width = vision.hidden_size;
    let embeddings = "vision_model.embeddings";
    list.add(format!("{embeddings}.class_embedding"), "visual.class_embedding", &[width]);
    let patch = [width, vision.num_channels, vision.patch_size, vision.patch_size];
    list.add(format!("{embeddings}.patch_embedding.weight"), "visual.conv1.weight", &patch);
    let positions = [vision.num_positions(), width];
    list.add(format!("{embeddings}.position_embedding.weight"), "visual.positional_embedding", &positions);
    // The checkpoints spell it so.
    list.affine("vision_model.pre_layrnorm", "visual.ln_pre", &[width]);
    for layer in 0..vision.num_hidden_layers {
        let original = format!("visual.transformer.resblocks.{layer}");
        let name = format!("vision_model.encoder.layers.{layer}");
        list.layer(&name, &original, NAMES, width, vision.intermediate_size);
    }
    list.affine("vision_model.post_layernorm", "visual.ln_post", &[width]);
    list.0
}

/// The tensors of the decoder, with timojl/clipseg's names for the originals.
pub(crate) fn decoder(config: &ClipSegConfig) -> Vec<Wanted> {
    const NAMES: [&str; 5] = ["self_attn", "norm1", "norm2", "linear1", "linear2"];
    let (reduce, patch) = (config.reduce_dim, config.vision_config.patch_size);
    let mut list = List::default();
    for film in ["film_mul", "film_add"] {
        list.affine(&format!("decoder.{film}"), film, &[reduce, config.projection_dim]);
    }
    for step in 0..config.extract_layers.len() {
        let reduces = format!("reduces.{step}");
        list.affine(&format!("decoder.{reduces}"), &reduces, &[reduce, config.vision_config.hidden_size]);
        let (name, original) = (format!("decoder.layers.{step}"), format!("blocks.{step}"));
        list.layer(&name, &original, NAMES, reduce, config.decoder_intermediate_size);
    }
    // Transposed convolutions have weights of shape [in, out, height, width], so the bias is as long as the
    // second dimension.
    let mut convolution = |place: &str, shape: [usize; 4], bias: usize| {
        let (name, original) =
            (format!("decoder.transposed_convolution{place}"), format!("trans_conv{place}"));
        list.add(format!("{name}.weight"), format!("{original}.weight"), &shape);
        list.add(format!("{name}.bias"), format!("{original}.bias"), &[bias]);
    };
    if config.use_complex_transposed_convolution {
        let (kernel, half) = (config.complex_kernel(), reduce / 2);
        convolution(".0", [reduce, reduce, 3, 3], reduce);
        convolution(".2", [reduce, half, kernel, kernel], half);
        convolution(".4", [half, 1, kernel, kernel], 1);
    } else {
        convolution("", [reduce, 1, patch, patch], 1);
    }
    list.0
}
