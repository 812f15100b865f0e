//! Checks that the configurations share. The bounds are far above any CLIP ever trained; they keep the sizes
//! in a hostile file from overflowing computations or asking for absurd memory.

use crate::error::{Error, Result};

/// Largest width of anything: hidden states, projections, the decoder.
pub(super) const MAX_WIDTH: usize = 16_384;
/// Largest inner width of an MLP.
pub(super) const MAX_INTERMEDIATE: usize = 65_536;
/// Most layers of a tower.
pub(super) const MAX_LAYERS: usize = 256;
/// Most positions of a sequence, of text or of patches.
pub(super) const MAX_POSITIONS: usize = 65_537;
/// Largest vocabulary.
pub(crate) const MAX_VOCABULARY: usize = 1 << 24;
/// Largest side of an image in pixels.
pub(crate) const MAX_IMAGE: usize = 8_192;
/// Most channels of an image.
pub(super) const MAX_CHANNELS: usize = 64;
/// Most extracted layers, which is also the decoder's depth.
pub(super) const MAX_EXTRACT_LAYERS: usize = MAX_LAYERS;
/// Widest attention head, the limit of the attention kernels.
pub(super) const MAX_HEAD: usize = 128;

/// Checks that `1 ≤ value ≤ max`.
pub(super) fn check_size(prefix: &str, name: &str, value: usize, max: usize) -> Result<()> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::config(format!("{prefix}{name} = {value}: must lie between 1 and {max}")))
}

/// Checks that `heads` divides `width` into heads of at most [`MAX_HEAD`]. Each comes with its field's name.
pub(super) fn check_heads(prefix: &str, heads: (&str, usize), width: (&str, usize)) -> Result<()> {
    let ((heads_name, heads), (width_name, width)) = (heads, width);
    check_size(prefix, heads_name, heads, width)?;
    if !width.is_multiple_of(heads) {
        return Err(Error::config(format!(
            "{prefix}{heads_name} = {heads}: must divide {width_name} = {width}"
        )));
    }
    if width / heads > MAX_HEAD {
        return Err(Error::config(format!(
            "{prefix}{heads_name} = {heads}: with {width_name} = {width} a head is {} wide, more than the {MAX_HEAD} \
             supported",
            width / heads
        )));
    }
    Ok(())
}

/// Checks that `layer_norm_eps` keeps the square root away from zero.
pub(super) fn check_eps(prefix: &str, eps: f64) -> Result<()> {
    // The kernels use f32, so the value counts as rounded to that.
    if eps.is_finite() && eps as f32 > 0.0 && (eps as f32).is_finite() {
        return Ok(());
    }
    Err(Error::config(format!(
        "{prefix}layer_norm_eps = {eps:?}: must be a positive number that f32 can hold"
    )))
}
