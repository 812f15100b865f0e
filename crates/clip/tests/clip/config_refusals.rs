//! `config.json`: messages about impossible values.

use clipseg_clip::ClipSegConfig;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The message about a configuration that must be refused by the reader or by the full check.
pub fn refused(config: &Value) -> String {
    match ClipSegConfig::from_json(&config.to_string()).and_then(|config| config.validate()) {
        Ok(()) => panic!("accepted {config}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn impossible_values_are_named_with_their_field() {
    let cases = [
        (
            json!({"text_config": {"num_attention_heads": 7}}),
            "text_config.num_attention_heads = 7: must divide hidden_size = 512",
        ),
        (json!({"vision_config": {"num_attention_heads": 0}}), "vision_config.num_attention_heads = 0"),
        (json!({"vision_config": {"num_attention_heads": 1}}), "a head is 768 wide"),
        (
            json!({"vision_config": {"hidden_act": "swish"}}),
            "vision_config.hidden_act = \"swish\": must be one of \"quick_gelu\"",
        ),
        (
            json!({"vision_config": {"hidden_size": -768}}),
            "vision_config.hidden_size = -768: must be a whole number",
        ),
        (
            json!({"text_config": {"hidden_size": 1_u64 << 60}}),
            "text_config.hidden_size = 1152921504606846976",
        ),
        (json!({"text_config": {"vocab_size": 0}}), "text_config.vocab_size = 0"),
        (json!({"text_config": {"layer_norm_eps": 0.0}}), "text_config.layer_norm_eps = 0"),
        (
            json!({"text_config": {"layer_norm_eps": "tiny"}}),
            "text_config.layer_norm_eps = \"tiny\": must be a number",
        ),
        (json!({"text_config": 3}), "text_config = 3: must be an object"),
        (json!({"vision_config_dict": 3}), "vision_config_dict = 3: must be an object"),
        (
            json!({"vision_config": {"patch_size": 225}}),
            "vision_config.patch_size = 225: must not exceed image_size = 224",
        ),
        (json!({"vision_config": {"patch_size": 1, "image_size": 8192}}), "67108865 positions"),
        (json!({"projection_dim": 0}), "projection_dim = 0"),
        (json!({"extract_layers": [3, 12]}), "layer 12 does not exist; vision_config.num_hidden_layers = 12"),
        (json!({"extract_layers": []}), "extract_layers lists 0 layers"),
        (json!({"extract_layers": [3, -15]}), "extract_layers = [3, -15]: layer -15 does not exist"),
        (json!({"extract_layers": [1.5]}), "extract_layers = [1.5]: must be a list of whole numbers"),
        (json!({"extract_layers": [i64::MAX]}), "does not exist"),
        (json!({"extract_layers": [i64::MIN]}), "does not exist"),
        (
            json!({"conditional_layer": 3}),
            "conditional_layer = 3: must be below the number of extract_layers, 3",
        ),
        (
            json!({"decoder_num_attention_heads": 3}),
            "decoder_num_attention_heads = 3: must divide reduce_dim = 64",
        ),
        (
            json!({"use_complex_transposed_convolution": true, "vision_config": {"patch_size": 2}}),
            "patch_size = 2: must be at least 4",
        ),
        (json!({"model_type": "bert"}), "model_type = \"bert\": expected \"clipseg\""),
    ];
    for (config, expected) in cases {
        let message = refused(&config);
        assert!(message.contains(expected), "{config}\n  says: {message}\n  lacks: {expected}");
    }
    assert!(ClipSegConfig::from_json("[]").unwrap_err().to_string().contains("not an object"));
    assert!(ClipSegConfig::from_json("{").unwrap_err().to_string().contains("not valid JSON"));
}

#[test]
fn files_are_named_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let missing = ClipSegConfig::from_file(folder.path()).unwrap_err().to_string();
    assert!(missing.contains("config.json is missing"), "{missing}");
    std::fs::write(folder.path().join("config.json"), r#"{"reduce_dim": "wide"}"#).unwrap();
    let wrong = ClipSegConfig::from_file(folder.path()).unwrap_err().to_string();
    assert!(wrong.contains("config.json: reduce_dim = \"wide\""), "{wrong}");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        let _ = ClipSegConfig::from_json(&text);
    }

    #[test]
    fn arbitrary_sizes_never_panic(
        field in prop::sample::select(vec!["hidden_size", "num_attention_heads", "patch_size", "image_size",
            "num_hidden_layers", "num_channels", "intermediate_size", "eos_token_id", "layer_norm_eps"]),
        value in any::<i64>(),
        complex in any::<bool>(),
    ) {
        for value in [value, value >> 32, value >> 48, value >> 60] {
            let tower = json!({ field: value });
            let config = json!({"text_config": tower, "vision_config": tower,
                "use_complex_transposed_convolution": complex});
            if let Ok(config) = ClipSegConfig::from_json(&config.to_string()) {
                let _ = config.validate();
                let _ = (config.vision_config.num_positions(), config.logits_per_patch());
            }
        }
    }
}
