//! What tensor names tell about how a checkpoint was saved.

use std::borrow::Cow;

/// Name parts that training wrappers insert into tensor names: DataParallel (and DeepSpeed), torch.compile,
/// and FSDP with activation checkpointing. No module of CLIPSeg itself has such a name.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// The name of a tensor without the parts that training wrappers inserted, wherever they stand in it, and
/// those parts.
#[must_use]
pub fn unwrapped(name: &str) -> (Cow<'_, str>, Vec<&'static str>) {
    let wrapper = |part: &str| WRAPPERS.into_iter().find(|wrapper| *wrapper == part);
    let found: Vec<_> = name.split('.').filter_map(wrapper).collect();
    if found.is_empty() {
        return (Cow::Borrowed(name), found);
    }
    let kept: Vec<_> = name.split('.').filter(|part| wrapper(part).is_none()).collect();
    (Cow::Owned(kept.join(".")), found)
}

/// Whether a tensor of this name belongs to an adapter (usually LoRA) rather than to a model.
#[must_use]
pub fn is_of_adapter(name: &str) -> bool {
    name.starts_with("base_model.model.") || name.split('.').any(|part| part.starts_with("lora_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_go_wherever_they_stand() {
        for (name, expected, wrappers) in [
            ("clip.logit_scale", "clip.logit_scale", vec![]),
            ("module.clip.logit_scale", "clip.logit_scale", vec!["module"]),
            ("module._orig_mod.clip.logit_scale", "clip.logit_scale", vec!["module", "_orig_mod"]),
            (
                "_orig_mod.module.decoder.film_mul.weight",
                "decoder.film_mul.weight",
                vec!["_orig_mod", "module"],
            ),
            ("clip._orig_mod.text_model.a.weight", "clip.text_model.a.weight", vec!["_orig_mod"]),
            ("modules.clip", "modules.clip", vec![]),
            ("module", "", vec!["module"]),
        ] {
            assert_eq!(unwrapped(name), (expected.into(), wrappers), "{name}");
        }
    }

    #[test]
    fn adapters_are_told_by_their_names() {
        for name in [
            "base_model.model.clip.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
            "clip.text_model.encoder.layers.0.self_attn.q_proj.lora_B.default.weight",
            "lora_unet_down.lora_up.weight",
            "base_model.model.decoder.film_mul.base_layer.weight",
        ] {
            assert!(is_of_adapter(name), "{name}");
        }
        assert!(!is_of_adapter("clip.text_model.encoder.layers.0.self_attn.q_proj.weight"));
    }
}
