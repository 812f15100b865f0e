//! Derives `config.json` from the shapes of an original checkpoint's tensors.
//!
//! What the shapes do not tell comes from a configuration that the caller gives, or else is as in the
//! published checkpoints.

use std::collections::BTreeMap;

use clipseg_clip::{Activation, ClipSegConfig};

use crate::error::{Error, Result};

/// Width of an attention head in all of OpenAI's transformers (`clip/model.py`, `build_model`).
const HEAD: usize = 64;
/// Layers that the published decoders read; a decoder has one block for each.
const EXTRACT_LAYERS: [isize; 3] = [3, 6, 9];

/// Shapes of the original tensors, by name.
pub(crate) type Shapes<'a> = BTreeMap<&'a str, &'a [usize]>;

/// A setting of config.json that no tensor tells, and the value that it was given, as in the published
/// checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assumed {
    /// Its name in config.json, after that of the object around it: `text_config.hidden_act`.
    pub setting: &'static str,
    /// Its value.
    pub value: String,
}

/// Derives the configuration, and lists what was assumed for it.
///
/// From the shapes come widths, inner widths, numbers of layers, patch and image size, vocabulary, positions,
/// the projection, and the form of the upsampling. From `given`, or else as published, come heads,
/// `extract_layers` and `conditional_layer`, activations, epsilons, and ids of special tokens.
pub(crate) fn derive(
    shapes: &Shapes<'_>,
    given: Option<ClipSegConfig>,
) -> Result<(ClipSegConfig, Vec<Assumed>)> {
    let published = given.is_none();
    let mut config = given.unwrap_or_default();

    let vision = &mut config.vision_config;
    [vision.hidden_size, vision.num_channels, vision.patch_size] = first(shapes, "visual.conv1.weight")?;
    [vision.intermediate_size] = first(shapes, "visual.transformer.resblocks.0.mlp.c_fc.weight")?;
    vision.num_hidden_layers = count(shapes, "visual.transformer.resblocks.");
    let [positions] = first(shapes, "visual.positional_embedding")?;
    let grid = positions.saturating_sub(1).isqrt();
    if grid * grid + 1 != positions {
        return Err(Error::Request(format!(
            "`visual.positional_embedding` has {positions} positions, which are not a square and a class token"
        )));
    }
    // Absurd sizes saturate, and are refused later by the configuration's own check.
    vision.image_size = grid.saturating_mul(vision.patch_size);

    let text = &mut config.text_config;
    [text.vocab_size, text.hidden_size] = first(shapes, "token_embedding.weight")?;
    [text.max_position_embeddings] = first(shapes, "positional_embedding")?;
    [text.intermediate_size] = first(shapes, "transformer.resblocks.0.mlp.c_fc.weight")?;
    text.num_hidden_layers = count(shapes, "transformer.resblocks.");

    [config.reduce_dim, config.projection_dim] = first(shapes, "film_mul.weight")?;
    [config.decoder_intermediate_size] = first(shapes, "blocks.0.linear1.weight")?;
    config.use_complex_transposed_convolution = shapes.contains_key("trans_conv.0.weight");
    let depth = count(shapes, "blocks.");
    if published {
        config.vision_config.num_attention_heads = heads(config.vision_config.hidden_size);
        config.text_config.num_attention_heads = heads(config.text_config.hidden_size);
        // The last two tokens of CLIP's vocabulary are the start and the end token.
        let vocabulary = u32::try_from(config.text_config.vocab_size).unwrap_or(u32::MAX);
        config.text_config.bos_token_id = Some(vocabulary.saturating_sub(2));
        config.text_config.eos_token_id = vocabulary.saturating_sub(1);
        config.extract_layers = EXTRACT_LAYERS.to_vec();
    }
    if config.extract_layers.len() != depth {
        return Err(Error::Request(format!(
            "the decoder has {depth} blocks, but extract_layers = {:?}{}; give a config.json with as many by --config",
            config.extract_layers,
            if published { ", as published" } else { "" }
        )));
    }
    config.validate()?;
    let assumed = if published { assumed(&config) } else { Vec::new() };
    Ok((config, assumed))
}

/// What no tensor tells, and changes what a model computes.
fn assumed(config: &ClipSegConfig) -> Vec<Assumed> {
    let ClipSegConfig { text_config: text, vision_config: vision, .. } = config;
    let settings = [
        ("extract_layers", format!("{:?}", config.extract_layers)),
        ("conditional_layer", config.conditional_layer.to_string()),
        ("decoder_num_attention_heads", config.decoder_num_attention_heads.to_string()),
        ("text_config.num_attention_heads", text.num_attention_heads.to_string()),
        ("vision_config.num_attention_heads", vision.num_attention_heads.to_string()),
        ("text_config.hidden_act", name(text.hidden_act)),
        ("vision_config.hidden_act", name(vision.hidden_act)),
    ];
    settings.into_iter().map(|(setting, value)| Assumed { setting, value }).collect()
}

/// An activation's name in config.json.
fn name(activation: Activation) -> String {
    serde_json::to_value(activation)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn heads(width: usize) -> usize {
    (width / HEAD).max(1)
}

/// The first `N` sizes of a tensor's shape.
fn first<const N: usize>(shapes: &Shapes<'_>, name: &str) -> Result<[usize; N]> {
    let shape = shapes.get(name).ok_or_else(|| {
        Error::Request(format!("tensor `{name}` is missing: the files are incomplete, or of another model"))
    })?;
    shape.first_chunk().copied().ok_or_else(|| {
        Error::Request(format!("tensor `{name}` has shape {shape:?}: at least {N} dimensions are needed"))
    })
}

/// Number of the numbered parts whose names start with `prefix`; the numbers are taken to run from 0.
fn count(shapes: &Shapes<'_>, prefix: &str) -> usize {
    let numbers = shapes.keys().filter_map(|name| {
        let (number, _) = name.strip_prefix(prefix)?.split_once('.')?;
        number.parse::<u32>().ok()
    });
    // If a number is missing in between, its tensors are later reported as missing, by name.
    numbers.max().map_or(0, |last| last as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shapes of the published `rd64-uni-refined.pth` and `ViT-B-16.pt`, those that `derive` looks at.
    fn published() -> Shapes<'static> {
        Shapes::from([
            ("visual.conv1.weight", &[768, 3, 16, 16][..]),
            ("visual.transformer.resblocks.0.mlp.c_fc.weight", &[3072, 768]),
            ("visual.transformer.resblocks.11.ln_1.bias", &[768]),
            ("visual.positional_embedding", &[197, 768]),
            ("token_embedding.weight", &[49408, 512]),
            ("positional_embedding", &[77, 512]),
            ("transformer.resblocks.0.mlp.c_fc.weight", &[2048, 512]),
            ("transformer.resblocks.11.ln_1.bias", &[512]),
            ("film_mul.weight", &[64, 512]),
            ("blocks.0.linear1.weight", &[2048, 64]),
            ("blocks.2.norm1.bias", &[64]),
            ("trans_conv.0.weight", &[64, 64, 3, 3]),
        ])
    }

    #[test]
    fn the_published_shapes_give_the_published_config() {
        let (config, assumed) = derive(&published(), None).unwrap();
        let mut expected = ClipSegConfig { use_complex_transposed_convolution: true, ..Default::default() };
        expected.vision_config.patch_size = 16;
        assert_eq!(config, expected);
        let assumed: Vec<_> =
            assumed.iter().map(|Assumed { setting, value }| format!("{setting} {value}")).collect();
        assert_eq!(
            assumed,
            [
                "extract_layers [3, 6, 9]",
                "conditional_layer 0",
                "decoder_num_attention_heads 4",
                "text_config.num_attention_heads 8",
                "vision_config.num_attention_heads 12",
                "text_config.hidden_act quick_gelu",
                "vision_config.hidden_act quick_gelu",
            ]
        );
    }

    #[test]
    fn what_shapes_tell_overrides_the_given_config_and_the_rest_is_kept() {
        let mut given = ClipSegConfig { extract_layers: vec![1, 2, 5], ..Default::default() };
        given.vision_config.num_attention_heads = 24;
        given.reduce_dim = 16;
        let (config, assumed) = derive(&published(), Some(given)).unwrap();
        assert!(assumed.is_empty(), "what the caller gives is not assumed");
        assert_eq!(config.extract_layers, [1, 2, 5]);
        assert_eq!((config.vision_config.num_attention_heads, config.reduce_dim), (24, 64));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |change: (&'static str, Option<&'static [usize]>)| {
            let mut shapes = published();
            match change.1 {
                Some(shape) => shapes.insert(change.0, shape),
                None => shapes.remove(change.0),
            };
            derive(&shapes, None).unwrap_err().to_string()
        };
        for (name, shape, word) in [
            ("visual.conv1.weight", None, "`visual.conv1.weight` is missing"),
            ("visual.conv1.weight", Some(&[768, 3][..]), "at least 3 dimensions"),
            ("visual.positional_embedding", Some(&[200, 768]), "not a square"),
            ("visual.positional_embedding", Some(&[0, 768]), "not a square"),
            ("blocks.3.norm1.bias", Some(&[64]), "4 blocks"),
            ("visual.conv1.weight", Some(&[768, 3, usize::MAX, 16]), "image_size"),
            ("visual.transformer.resblocks.4000000000.ln_1.bias", Some(&[1]), "num_hidden_layers"),
        ] {
            let message = refused((name, shape));
            assert!(message.contains(word), "{name} {shape:?}: {message}");
        }
    }
}
