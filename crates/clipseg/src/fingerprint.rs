//! Fingerprints, which tell whether one model may use the conditions of another.

use half::f16;

use crate::{Checkpoint, ClipSegConfig, Result};

/// Ends of the names of tensors that a condition is made by last, in the text tower or in the vision tower.
const LAST: [&str; 6] = [
    "text_projection.weight",
    "visual_projection.weight",
    "final_layer_norm.weight",
    "final_layer_norm.bias",
    "post_layernorm.weight",
    "post_layernorm.bias",
];

/// A name for the space that a model's conditions lie in: of the projections' width, of how texts are pooled,
/// and of the last weights that conditions are made by.
///
/// Weights are taken in 16 bits, so that a checkpoint and what `clipseg convert --dtype f16` makes of it are
/// the same. Models that share CLIP's towers are the same too, whatever their decoders, as the published rd64
/// and rd16. Other layers are not looked at, which would take as long as to load them: a model that was
/// trained further in those alone is taken for the same.
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
