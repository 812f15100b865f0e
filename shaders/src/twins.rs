//! A CPU twin of every kernel: the same arithmetic as plain loops over row-major slices.
//!
//! A twin is its kernel's specification and the oracle of its tests, so it favours the plainest form over a
//! quick one. It has the kernel's name and takes the kernel's parameters, then its resources in binding
//! order, the output last. The forms of one operation share a twin: [`matmul`] speaks for every kernel named
//! `matmul_*`, [`layer_norm`], [`attention`] and [`film`] for theirs. Textures are row-major slices here;
//! [`texture_from_buffer`] says how they are padded.
//!
//! [`conv2d_3x3`] and [`transposed_conv2d`] take the parameters of [`im2col_3x3`] and [`depth_to_space`]: they are the
//! convolutions, written directly, that the engine computes as a rearrangement and a matrix product.
//!
//! Where a kernel takes or gives f16 values, its twin does so by [`half()`] of each value.
//!
//! # Panics
//! A twin panics where a slice is shorter than the parameters say.

mod activation;
mod algebra;
mod attention;
mod convolution;
mod embedding;
mod guided;
mod halves;
mod layout;
mod matmul;
mod modulation;
mod normalise;
mod overlay;
mod photo;
mod resample;

pub use activation::{activate, activation, sigmoid};
pub use algebra::{BinaryOperation, batched_matmul, binary, concat, strided_copy};
pub use attention::{LOWEST, attention, attention_scores};
pub use convolution::{conv2d_3x3, depth_to_space, im2col_3x3, transposed_conv2d};
pub use embedding::{gather_rows, patchify, token_embedding, vision_embedding};
pub use guided::{box_mean, guided_apply, guided_coefficients, guided_moments};
pub use halves::half;
pub use layout::{buffer_from_texture, texture_from_buffer};
pub use matmul::matmul;
pub use modulation::film;
pub use normalise::{layer_norm, softmax};
pub use overlay::overlay_mask;
pub use photo::{pack_mask, resize_bytes, resize_photo};
pub use resample::{bicubic_positions, bilinear_resize};

/// Fails unless every value lies within `tolerance` of the expected one; a NaN does not.
#[cfg(test)]
fn assert_near(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len());
    for (place, (a, b)) in actual.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "value {place}: {a}, expected {b}");
    }
}
