//! Derives `config.json` from the shapes of an original checkpoint's tensors.
//!
//! What the shapes do not tell comes from a configuration that the caller gives, or else is as in the
//! published checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use clipseg_clip::config::CONFIG_FILE;
use clipseg_clip::{Activation, ClipSegConfig};
use serde_json::Value;

use crate::MAX_TEXT;
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
/// the projection, and the form of the upsampling. Heads, `extract_layers` and `conditional_layer`,
/// activations, epsilons, and ids of special tokens come from the file `given`, or where that lacks them are
/// as published. One that names its `model_type` is a whole `config.json`: transformers leaves out what is as
/// in its defaults.
pub(crate) fn derive(shapes: &Shapes<'_>, given: Option<&Path>) -> Result<(ClipSegConfig, Vec<Assumed>)> {
    let published = published(shapes)?;
    let (mut config, assumed) = match given {
        None => (published.clone(), assumed(&published, |_| false)),
        Some(path) => {
            let settings = settings(path)?;
            if settings.get("model_type").is_some() {
                (ClipSegConfig::from_file(path)?, Vec::new())
            } else {
                let config = ClipSegConfig::from_file_over(path, &published)?;
                let assumed = assumed(&config, |setting| is_set(&settings, setting));
                (config, assumed)
            }
        }
    };
    set_shapes(&mut config, shapes)?;
    let depth = count(shapes, "blocks.");
    let is_assumed = |setting| assumed.iter().any(|assumed| assumed.setting == setting);
    if config.extract_layers.len() != depth {
        return Err(Error::Request(format!(
            "the decoder has {depth} blocks, but extract_layers = {:?}{}; give a config.json with as many by --config",
            config.extract_layers,
            if is_assumed("extract_layers") { ", as published" } else { "" }
        )));
    }
    match (config.validate(), given) {
        (Ok(()), _) => Ok((config, assumed)),
        (Err(error), Some(path)) => Err(Error::file(path, format!("does not fit the tensors: {error}"))),
        (Err(error), None) => Err(Error::Request(format!(
            "{error}; what tensors do not tell was taken as published ({}): give a config.json with what is otherwise \
             by --config",
            list(&assumed)
        ))),
    }
}

/// The settings with their values, as a sentence has them.
fn list(assumed: &[Assumed]) -> String {
    let settings: Vec<_> =
        assumed.iter().map(|Assumed { setting, value }| format!("{setting} {value}")).collect();
    settings.join(", ")
}

/// The configuration of a model that is as published in all that tensors do not tell.
fn published(shapes: &Shapes<'_>) -> Result<ClipSegConfig> {
    let mut config = ClipSegConfig { extract_layers: EXTRACT_LAYERS.to_vec(), ..ClipSegConfig::default() };
    set_shapes(&mut config, shapes)?;
    config.vision_config.num_attention_heads = heads(config.vision_config.hidden_size);
    config.text_config.num_attention_heads = heads(config.text_config.hidden_size);
    // The last two tokens of CLIP's vocabulary are the start and the end token.
    let vocabulary = u32::try_from(config.text_config.vocab_size).unwrap_or(u32::MAX);
    config.text_config.bos_token_id = Some(vocabulary.saturating_sub(2));
    config.text_config.eos_token_id = vocabulary.saturating_sub(1);
    Ok(config)
}

/// Sets what the shapes tell.
fn set_shapes(config: &mut ClipSegConfig, shapes: &Shapes<'_>) -> Result<()> {
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
    Ok(())
}

/// The settings in the file, or in that of the folder.
fn settings(path: &Path) -> Result<Value> {
    let file = if path.is_dir() { path.join(CONFIG_FILE) } else { path.to_owned() };
    let text = clipseg_files::read(&file, MAX_TEXT).map_err(|error| Error::read(&file, error))?;
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    serde_json::from_slice(text).map_err(|error| Error::file(&file, format!("is not valid JSON: {error}")))
}

/// Whether the settings have one of this name, in which a dot leads into an object.
fn is_set(settings: &Value, name: &str) -> bool {
    name.split('.').try_fold(settings, |object, name| object.get(name)).is_some_and(|value| !value.is_null())
}

/// What no tensor tells, changes what a model computes, and is not given.
fn assumed(config: &ClipSegConfig, is_given: impl Fn(&str) -> bool) -> Vec<Assumed> {
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
    let others = settings.into_iter().filter(|(setting, _)| !is_given(setting));
    others.map(|(setting, value)| Assumed { setting, value }).collect()
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

    /// A file of these settings, and what `derive` makes of it.
    fn derived(shapes: &Shapes<'_>, settings: &str) -> (ClipSegConfig, Vec<&'static str>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), settings).unwrap();
        let (config, assumed) = derive(shapes, Some(folder.path())).unwrap();
        (config, assumed.into_iter().map(|assumed| assumed.setting).collect())
    }

    #[test]
    fn what_shapes_tell_overrides_the_given_config_and_the_rest_is_kept() {
        let settings = r#"{"model_type": "clipseg", "extract_layers": [1, 2, 5], "reduce_dim": 16,
            "vision_config": {"num_attention_heads": 24}}"#;
        let (config, assumed) = derived(&published(), settings);
        assert!(assumed.is_empty(), "what the caller gives is not assumed");
        assert_eq!(config.extract_layers, [1, 2, 5]);
        assert_eq!((config.vision_config.num_attention_heads, config.reduce_dim), (24, 64));
    }

    /// As in ViT-L-14, whose widths are not those of transformers' defaults.
    #[test]
    fn what_a_few_settings_lack_stays_as_without_them() {
        let mut shapes = published();
        shapes.extend([
            ("visual.conv1.weight", &[1024, 3, 14, 14][..]),
            ("visual.transformer.resblocks.0.mlp.c_fc.weight", &[4096, 1024]),
            ("visual.positional_embedding", &[257, 1024]),
            ("token_embedding.weight", &[49000, 768]),
            ("positional_embedding", &[77, 768]),
        ]);
        shapes.remove("trans_conv.0.weight");
        let (without, _) = derive(&shapes, None).unwrap();
        let heads = |config: &ClipSegConfig| {
            (config.vision_config.num_attention_heads, config.text_config.num_attention_heads)
        };
        assert_eq!((heads(&without), without.text_config.eos_token_id), ((16, 12), 48999));
        let (config, assumed) = derived(&shapes, r#"{"extract_layers": [3, 7, 9]}"#);
        assert_eq!(config, ClipSegConfig { extract_layers: vec![3, 7, 9], ..without.clone() });
        assert_eq!(assumed.len(), 6);
        assert!(
            !assumed.contains(&"extract_layers") && assumed.contains(&"vision_config.num_attention_heads")
        );
        let settings = r#"{"extract_layers": null, "vision_config": {"num_attention_heads": 32}}"#;
        let (config, assumed) = derived(&shapes, settings);
        assert_eq!((heads(&config), &config.extract_layers), ((32, 12), &without.extract_layers));
        assert!(assumed.contains(&"extract_layers"));
        assert!(!assumed.contains(&"vision_config.num_attention_heads"));
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
