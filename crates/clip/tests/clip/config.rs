//! `config.json`: defaults, unknown keys and old forms.

use clipseg_clip::{Activation, ClipSegConfig, ClipSegTextConfig, ClipSegVisionConfig, Error};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::config_refusals::refused;

#[test]
fn an_empty_object_gives_the_documented_defaults() {
    let config = ClipSegConfig::from_json("{}").unwrap();
    assert_eq!(config, ClipSegConfig::default());
    assert_eq!((config.projection_dim, config.reduce_dim, config.conditional_layer), (512, 64, 0));
    assert_eq!(
        (config.extract_layers.as_slice(), config.decoder_num_attention_heads),
        ([3, 6, 9].as_slice(), 4)
    );
    assert_eq!((config.decoder_intermediate_size, config.logit_scale_init_value), (2048, 2.6592));
    assert!(!config.use_complex_transposed_convolution);

    let text = &config.text_config;
    assert_eq!((text.vocab_size, text.hidden_size, text.intermediate_size), (49408, 512, 2048));
    assert_eq!((text.num_hidden_layers, text.num_attention_heads, text.max_position_embeddings), (12, 8, 77));
    assert_eq!((text.pad_token_id, text.bos_token_id, text.eos_token_id), (Some(1), Some(49406), 49407));
    assert_eq!((text.hidden_act, text.layer_norm_eps, text.head_dim()), (Activation::QuickGelu, 1e-5, 64));

    let vision = &config.vision_config;
    assert_eq!((vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers), (768, 3072, 12));
    assert_eq!((vision.num_attention_heads, vision.num_channels), (12, 3));
    assert_eq!((vision.image_size, vision.patch_size), (224, 32));
    assert_eq!((vision.grid(), vision.num_patches(), vision.num_positions()), (7, 49, 50));
    config.validate().unwrap();
}

#[test]
fn unknown_keys_survive_a_round_trip() {
    let text = r#"{"model_type":"clipseg","torch_dtype":"float32","text_config":{"id2label":{"0":"x"},"eos_token_id":2},
        "vision_config":null,"layer_norm_eps":1e-5}"#;
    let config = ClipSegConfig::from_json(text).unwrap();
    assert_eq!(config.extra["torch_dtype"], "float32");
    assert_eq!(config.text_config.extra["id2label"]["0"], "x");
    assert_eq!(config.text_config.eos_token_id, 2);
    let again = ClipSegConfig::from_json(&config.to_json()).unwrap();
    assert_eq!(again, config);
    let written: Value = serde_json::from_str(&config.to_json()).unwrap();
    assert_eq!(written["torch_dtype"], "float32");
    assert_eq!(written["vision_config"]["patch_size"], 32);
}

/// The signatures of the documented classes, every argument with its default.
#[test]
fn every_documented_field_has_its_documented_default() {
    let text = json!({
        "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
        "num_attention_heads": 8, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-05, "attention_dropout": 0.0, "initializer_range": 0.02, "initializer_factor": 1.0,
        "pad_token_id": 1, "bos_token_id": 49406, "eos_token_id": 49407, "model_type": "clipseg_text_model",
    });
    let vision = json!({
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "num_channels": 3, "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-05, "attention_dropout": 0.0, "initializer_range": 0.02, "initializer_factor": 1.0,
        "model_type": "clipseg_vision_model",
    });
    let whole = json!({
        "text_config": text, "vision_config": vision, "projection_dim": 512, "logit_scale_init_value": 2.6592,
        "extract_layers": [3, 6, 9], "reduce_dim": 64, "decoder_num_attention_heads": 4,
        "decoder_attention_dropout": 0.0, "decoder_hidden_act": "quick_gelu", "decoder_intermediate_size": 2048,
        "conditional_layer": 0, "use_complex_transposed_convolution": false, "model_type": "clipseg",
    });
    let written = |json: String| serde_json::from_str::<Value>(&json).unwrap();
    assert_eq!(written(ClipSegTextConfig::default().to_json()), text);
    assert_eq!(written(ClipSegVisionConfig::default().to_json()), vision);
    assert_eq!(written(ClipSegConfig::default().to_json()), whole);
}

/// Whether `written` has everything that `read` has, with the same value.
fn keeps(read: &Value, written: &Value) -> bool {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            read.iter().all(|(key, value)| written.get(key).is_some_and(|written| keeps(value, written)))
        }
        _ => read == written,
    }
}

#[test]
fn configs_that_transformers_wrote_come_back_whole() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = std::fs::read_dir(root.join("fixtures/models")).unwrap();
    let mut folders: Vec<_> =
        folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.push(root.join("xtask/src/synth/clipseg-rd64-refined"));
    let mut compared = 0;
    for folder in folders {
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        let (written, again) = match read["model_type"].as_str().unwrap() {
            "clipseg_text_model" => {
                let config = ClipSegTextConfig::from_file(&folder).unwrap();
                (config.to_json(), ClipSegTextConfig::from_json(&config.to_json()).unwrap().to_json())
            }
            "clipseg_vision_model" => {
                let config = ClipSegVisionConfig::from_file(&folder).unwrap();
                (config.to_json(), ClipSegVisionConfig::from_json(&config.to_json()).unwrap().to_json())
            }
            "clipseg" | "clip" => {
                let config = ClipSegConfig::from_file(&folder).unwrap();
                (config.to_json(), ClipSegConfig::from_json(&config.to_json()).unwrap().to_json())
            }
            // Another architecture.
            _ => continue,
        };
        compared += 1;
        let written_value: Value = serde_json::from_str(&written).unwrap();
        assert!(keeps(&read, &written_value), "{}: {written}", folder.display());
        assert_eq!(again, written);
    }
    assert!(compared > 20);
    assert!(!keeps(&json!({"a": {"b": 1}}), &json!({"a": {"c": 1}})), "a lost key is noticed");
    assert!(!keeps(&json!({"a": {"b": 1}}), &json!({"a": {"b": 2}})), "a changed value is noticed");
}

#[test]
fn two_towers_make_a_whole() {
    let text_config = ClipSegTextConfig { hidden_size: 64, ..ClipSegTextConfig::default() };
    let vision_config =
        ClipSegVisionConfig { patch_size: 16, image_size: 352, ..ClipSegVisionConfig::default() };
    let config = ClipSegConfig::from_text_vision_configs(text_config.clone(), vision_config.clone());
    assert_eq!((&config.text_config, &config.vision_config), (&text_config, &vision_config));
    assert_eq!(
        ClipSegConfig {
            text_config: Default::default(),
            vision_config: Default::default(),
            ..config.clone()
        },
        ClipSegConfig::default()
    );
    // transformers' method takes further arguments; here they are struct update syntax.
    let config = ClipSegConfig { reduce_dim: 16, ..config };
    assert_eq!(ClipSegConfig::from_json(&config.to_json()).unwrap(), config);
    config.validate().unwrap();
}

#[test]
fn a_legacy_dict_decides_every_known_field() {
    let config = ClipSegConfig::from_json(
        &json!({
            "text_config": {"hidden_size": 256, "num_attention_heads": 4, "kept": true},
            "text_config_dict": {"hidden_size": 128, "num_attention_heads": 2},
            "vision_config": {"patch_size": 8, "hidden_act": "gelu"},
            "vision_config_dict": {"patch_size": 16},
        })
        .to_string(),
    )
    .unwrap();
    assert_eq!((config.text_config.hidden_size, config.text_config.num_attention_heads), (128, 2));
    assert_eq!(config.text_config.extra["kept"], true);
    assert_eq!(config.vision_config.patch_size, 16);
    // It is missing from the dict, so it gets its default, not the newer object's value.
    assert_eq!(config.vision_config.hidden_act, Activation::QuickGelu);
    assert!(!config.to_json().contains("_dict"));
}

#[test]
fn a_tower_reads_its_own_file_or_its_part_of_a_whole() {
    let alone = r#"{"model_type":"clipseg_text_model","hidden_size":64,"num_attention_heads":4}"#;
    assert_eq!(ClipSegTextConfig::from_json(alone).unwrap().hidden_size, 64);
    let whole =
        r#"{"model_type":"clipseg","text_config":{"hidden_size":64},"vision_config":{"image_size":352}}"#;
    assert_eq!(ClipSegTextConfig::from_json(whole).unwrap().hidden_size, 64);
    assert_eq!(ClipSegVisionConfig::from_json(whole).unwrap().image_size, 352);

    let error = ClipSegVisionConfig::from_json(alone).unwrap_err().to_string();
    assert!(error.contains("clipseg_text_model") && error.contains("clipseg_vision_model"), "{error}");
    let error = ClipSegConfig::from_json(alone).unwrap_err().to_string();
    assert!(error.contains("one tower alone"), "{error}");
}

#[test]
fn every_activation_has_its_name() {
    use Activation::*;
    for (name, activation) in
        [("quick_gelu", QuickGelu), ("gelu", Gelu), ("gelu_new", GeluNew), ("relu", Relu), ("selu", Selu)]
    {
        let config = ClipSegTextConfig::from_json(&json!({ "hidden_act": name }).to_string());
        assert_eq!(config.err().map(|error| error.to_string()), None);
        let config = json!({"text_config": {"hidden_act": name}, "vision_config": {"hidden_act": name}});
        let config = ClipSegConfig::from_json(&config.to_string()).unwrap();
        assert_eq!(
            (config.text_config.hidden_act, config.vision_config.hidden_act),
            (activation, activation)
        );
    }
}

/// transformers 5 declares these three as `int | list[int]`, but computes with one number.
#[test]
fn lists_of_one_number_are_that_number() {
    let config = ClipSegConfig::from_json(
        r#"{"text_config": {"eos_token_id": [2]}, "vision_config": {"image_size": [352, 352], "patch_size": [16]}}"#,
    )
    .unwrap();
    assert_eq!(config.text_config.eos_token_id, 2);
    assert_eq!((config.vision_config.image_size, config.vision_config.patch_size), (352, 16));
    for (config, expected) in [
        (
            json!({"vision_config": {"patch_size": [16, 32]}}),
            "vision_config.patch_size = [16,32]: must be one number",
        ),
        (
            json!({"vision_config": {"image_size": [224, 336]}}),
            "vision_config.image_size = [224,336]: must be one",
        ),
        (json!({"vision_config": {"image_size": []}}), "vision_config.image_size = []: must be one"),
        (
            json!({"vision_config": {"patch_size": ["16"]}}),
            "vision_config.patch_size = \"16\": must be a whole number",
        ),
        (
            json!({"text_config": {"eos_token_id": [1, 2]}}),
            "text_config.eos_token_id = [1,2]: must be one id",
        ),
        (json!({"text_config": {"eos_token_id": [-1]}}), "text_config.eos_token_id = -1"),
    ] {
        let message = refused(&config);
        assert!(message.contains(expected), "{config}\n  says: {message}\n  lacks: {expected}");
    }
}

/// Python's `hidden_states[layer + 1]`, in a list of the embeddings' output and the outputs of 12 layers.
#[test]
fn extract_layers_are_counted_as_python_does() {
    let vision = ClipSegVisionConfig::default();
    for (layer, entry) in [(0, 1), (11, 12), (-1, 0), (-2, 12), (-3, 11), (-13, 1), (-14, 0)] {
        assert_eq!(vision.hidden_state(layer), Some(entry), "{layer}");
    }
    for layer in [12, -15, isize::MAX, isize::MIN] {
        assert_eq!(vision.hidden_state(layer), None, "{layer}");
    }
    let config =
        ClipSegConfig::from_json(r#"{"extract_layers": [-1, -14, 3], "conditional_layer": -1}"#).unwrap();
    config.validate().unwrap();
    assert_eq!(
        (config.extract_layers.as_slice(), config.conditional_step()),
        ([-1, -14, 3].as_slice(), None)
    );
    assert_eq!(ClipSegConfig::default().conditional_step(), Some(0));
}

#[test]
fn null_stands_for_the_default_everywhere() {
    fn nulls(value: &mut Value) {
        for value in value.as_object_mut().unwrap().values_mut() {
            match value {
                Value::Object(_) => nulls(value),
                _ => *value = Value::Null,
            }
        }
    }
    let mut written: Value = serde_json::from_str(&ClipSegConfig::default().to_json()).unwrap();
    nulls(&mut written);
    let mut expected = ClipSegConfig::default();
    // For these two null is a value, as in Python.
    (expected.text_config.pad_token_id, expected.text_config.bos_token_id) = (None, None);
    assert_eq!(ClipSegConfig::from_json(&written.to_string()).unwrap(), expected);
    let whole = r#"{"text_config": null, "vision_config": null, "model_type": null}"#;
    assert_eq!(ClipSegConfig::from_json(whole).unwrap(), ClipSegConfig::default());
}

#[test]
fn files_that_python_and_editors_write_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let open = |text: &str| {
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        ClipSegConfig::from_file(folder.path())
    };
    let config =
        open("\u{feff}{\"reduce_dim\": 16,\r\n \"temperature\": Infinity, \"dtype\": \"float16\"}").unwrap();
    assert_eq!((config.reduce_dim, &config.extra["dtype"]), (16, &json!("float16")));
    let message = open(r#"{"vision_config": {"layer_norm_eps": NaN}}"#).unwrap_err().to_string();
    assert!(
        message.contains("config.json: vision_config.layer_norm_eps = \"NaN\": must be a number"),
        "{message}"
    );
    let message = open(r#"{"vision_config": {"layer_norm_eps": 1e300}}"#).unwrap_err().to_string();
    assert!(message.contains("config.json: vision_config.layer_norm_eps = 1e300: must be"), "{message}");
    for (text, expected) in [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
        ("", "is empty"),
        (r#"{"error":"Invalid credentials in Authorization header"}"#, "Invalid credentials"),
    ] {
        let error = open(text).unwrap_err();
        assert!(matches!(error, Error::StandIn { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("config.json is") && message.contains(expected), "{message}");
    }
}

/// transformers reads neither whether it is known nor what it says.
#[test]
fn the_decoders_activation_may_be_any() {
    let config = ClipSegConfig::from_json(r#"{"decoder_hidden_act": "swish"}"#).unwrap();
    config.validate().unwrap();
    assert_eq!(config.decoder_hidden_act, "swish");
    assert_eq!(ClipSegConfig::from_json(&config.to_json()).unwrap(), config);
}

/// A `CLIPSegModel` has no decoder, so values in the decoder's fields must not keep it from loading.
#[test]
fn the_clip_half_is_judged_alone() {
    let config = r#"{"vision_config":{"num_hidden_layers":2}}"#;
    let config = ClipSegConfig::from_json(config).unwrap();
    assert!(config.validate().unwrap_err().to_string().contains("extract_layers"));
}

#[test]
fn logits_follow_the_arithmetic_of_the_kernels() {
    let mut config = ClipSegConfig::default();
    for (patch, complex, per_patch) in
        [(16, true, 16), (32, true, 64), (8, true, 4), (18, true, 16), (32, false, 32)]
    {
        config.vision_config.patch_size = patch;
        config.use_complex_transposed_convolution = complex;
        assert_eq!(config.logits_per_patch(), per_patch);
    }
}

proptest! {
    #[test]
    fn numbers_come_back_to_the_last_bit(epsilon in 1e-12..1.0, scale in -10.0..10.0) {
        let mut config = ClipSegConfig { logit_scale_init_value: scale, ..ClipSegConfig::default() };
        config.vision_config.layer_norm_eps = epsilon;
        prop_assert_eq!(ClipSegConfig::from_json(&config.to_json()).unwrap(), config);
    }
}
