//! Fingerprints, which tell whether one model may use the conditions of another.

use half::f16;

use crate::{Checkpoint, ClipSegConfig, Result};

/// The endings of the names of the last tensors by which a condition is made, in the text or in the vision
/// tower.
const LAST: [&str; 6] = [
    "text_projection.weight",
    "visual_projection.weight",
    "final_layer_norm.weight",
    "final_layer_norm.bias",
    "post_layernorm.weight",
    "post_layernorm.bias",
];

/// A name for the space that a model's conditions lie in, made of the projections' width, the way in which
/// texts are pooled, and the last weights by which conditions are made.
///
/// Weights are rounded to f16 first, so that a checkpoint and what `clipseg convert --dtype f16` makes of it
/// have the same name. Models that share CLIP's towers have the same name too, whatever their decoders, such
/// as the published rd64 and rd16. Other layers are left out, as reading them would take as long as loading
/// them: a model that was trained further in those alone keeps the name.
pub(crate) fn fingerprint(checkpoint: &Checkpoint, config: &ClipSegConfig) -> Result<String> {
    let text = &config.text_config;
    let mut bytes =
        format!("{} {} {:?}", config.projection_dim, text.eos_token_id, text.hidden_act).into_bytes();
    for end in LAST {
        let tensors = checkpoint.names().filter(|name| name.ends_with(end));
        for tensor in tensors.filter_map(|name| checkpoint.get(name)) {
            bytes.extend(tensor.to_f32()?.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()));
        }
    }
    Ok(format!("{:016x}", clipseg_tensor::checksum(bytes)))
}
