//! The CPU twins of `clipseg-shaders`, called as a recorded step calls their kernels.

use bytemuck::AnyBitPattern;
use clipseg_shaders::{Activation, Kernel, kernels, twins};

#[cfg(feature = "processor")]
use crate::processor::PackedWeight;
use crate::{Error, Result, ops};

/// Does what a kernel does.
pub(crate) type Twin = fn(Call<'_>) -> Result<()>;

/// One run of a kernel's twin: its parameters and its resources, as they were recorded.
pub(crate) struct Call<'a> {
    /// The kernel's parameter block, and padding behind it.
    pub params: &'a [u8],
    /// Values of the kernel's overrides.
    pub overrides: &'a [(&'static str, u32)],
    /// Everything that the kernel reads, in the order of its bindings.
    pub inputs: &'a [Input<'a>],
    /// What it writes, and no more than that.
    pub output: &'a mut [f32],
}

/// What a twin reads.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// Floats or integers of 32 bits.
    Words(&'a [u32]),
    /// A weight in the order in which the processor's products read it.
    #[cfg(feature = "processor")]
    Weight(&'a PackedWeight),
}

impl<'a> Call<'a> {
    /// The parameters.
    pub fn params<P: AnyBitPattern>(&self) -> Result<P> {
        let bytes = self.params.get(..size_of::<P>());
        bytes.map(bytemuck::pod_read_unaligned).ok_or_else(|| missing("parameters"))
    }

    /// What the kernel reads in that place.
    pub fn input(&self, binding: usize) -> Result<Input<'a>> {
        self.inputs.get(binding).copied().ok_or_else(|| missing("a binding"))
    }

    /// The integers that it reads there.
    pub fn integers(&self, binding: usize) -> Result<&'a [u32]> {
        match self.input(binding)? {
            Input::Words(words) => Ok(words),
            #[cfg(feature = "processor")]
            Input::Weight(_) => Err(missing("a weight that is not packed")),
        }
    }

    /// The floats that it reads there.
    pub fn floats(&self, binding: usize) -> Result<&'a [f32]> {
        self.integers(binding).map(bytemuck::cast_slice)
    }

    /// The first `length` of the floats that it reads there.
    #[cfg(feature = "processor")]
    pub fn floats_of(&self, binding: usize, length: usize) -> Result<&'a [f32]> {
        self.floats(binding)?.get(..length).ok_or_else(|| missing("a part of an operand"))
    }

    /// The kernel's activation.
    pub fn activation(&self) -> Activation {
        activation_of(self.overrides)
    }
}

/// The activation that overrides name; none where the kernel has no such override.
pub(crate) fn activation_of(overrides: &[(&'static str, u32)]) -> Activation {
    // All kernels call it the same.
    activation_numbered(kernels::activation::Overrides::of(overrides).activation)
}

/// The activation that kernels know by `number`.
pub(crate) fn activation_numbered(number: u32) -> Activation {
    Activation::ALL.into_iter().find(|&activation| activation as u32 == number).unwrap_or_default()
}

fn missing(what: &str) -> Error {
    Error::Device(format!("{what} of a recorded step is not there"))
}

/// The twins, by the kernels that lie on buffers. The forms of one operation share a twin.
static TWINS: [(&[&Kernel], Twin); 27] = [
    (&[&kernels::activation::KERNEL], |call| {
        twins::activation(&call.params()?, call.activation(), call.floats(0)?, call.output);
        Ok(())
    }),
    (
        &[
            &kernels::attention::KERNEL,
            &kernels::attention_cooperative_8::KERNEL,
            &kernels::attention_cooperative_8_lanes_32::KERNEL,
            &kernels::attention_cooperative_16::KERNEL,
            &kernels::attention_lanes::KERNEL,
            &kernels::attention_vec4::KERNEL,
        ],
        |call| {
            let [key_mask, cu_seqlens] = [call.integers(1)?, call.integers(2)?];
            twins::attention(&call.params()?, call.floats(0)?, key_mask, cu_seqlens, call.output);
            Ok(())
        },
    ),
    (&[&kernels::attention_scores::KERNEL], |call| {
        twins::attention_scores(&call.params()?, call.floats(0)?, call.integers(1)?, call.output);
        Ok(())
    }),
    (&[&kernels::batched_matmul::KERNEL], |call| {
        twins::batched_matmul(&call.params()?, call.floats(0)?, call.floats(1)?, call.output);
        Ok(())
    }),
    (&[&kernels::bicubic_positions::KERNEL], |call| {
        twins::bicubic_positions(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (&[&kernels::bilinear_resize::KERNEL], |call| {
        twins::bilinear_resize(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (&[&kernels::binary::KERNEL], |call| {
        let operation = kernels::binary::Overrides::of(call.overrides).operation;
        let operation = twins::BinaryOperation::ALL.into_iter().find(|&known| known as u32 == operation);
        let operation = operation.ok_or_else(|| missing("an operation"))?;
        twins::binary(&call.params()?, operation, call.floats(0)?, call.floats(1)?, call.output);
        Ok(())
    }),
    (&[&kernels::box_mean::KERNEL], |call| {
        twins::box_mean(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (&[&kernels::concat::KERNEL], |call| {
        twins::concat(&call.params()?, call.floats(0)?, call.floats(1)?, call.output);
        Ok(())
    }),
    (&[&kernels::depth_to_space::KERNEL], |call| {
        twins::depth_to_space(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (&[&kernels::film::KERNEL], |call| {
        let [reduced, previous] = [call.floats(0)?, call.floats(1)?];
        twins::film(&call.params()?, reduced, previous, call.floats(2)?, call.floats(3)?, call.output);
        Ok(())
    }),
    (&[&kernels::gather_rows::KERNEL], |call| {
        twins::gather_rows(&call.params()?, call.floats(0)?, call.integers(1)?, call.output);
        Ok(())
    }),
    (&[&kernels::guided_apply::KERNEL], |call| {
        twins::guided_apply(&call.params()?, call.floats(0)?, call.floats(1)?, call.output);
        Ok(())
    }),
    (&[&kernels::guided_coefficients::KERNEL], |call| {
        twins::guided_coefficients(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (&[&kernels::guided_moments::KERNEL], |call| {
        twins::guided_moments(&call.params()?, call.floats(0)?, call.floats(1)?, call.output);
        Ok(())
    }),
    (&[&kernels::im2col_3x3::KERNEL], |call| {
        twins::im2col_3x3(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (
        &[
            &kernels::layer_norm::KERNEL,
            &kernels::layer_norm_lanes::KERNEL,
            &kernels::layer_norm_vec4::KERNEL,
        ],
        |call| {
            twins::layer_norm(
                &call.params()?,
                call.floats(0)?,
                call.floats(1)?,
                call.floats(2)?,
                call.output,
            );
            Ok(())
        },
    ),
    (&[&kernels::patchify::KERNEL], |call| {
        twins::patchify(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (&[&kernels::overlay_mask::KERNEL], |call| {
        let (photo, probabilities) = (call.floats(0)?, call.floats(1)?);
        twins::overlay_mask(&call.params()?, photo, probabilities, bytemuck::cast_slice_mut(call.output));
        Ok(())
    }),
    (&[&kernels::pack_mask::KERNEL], |call| {
        twins::pack_mask(&call.params()?, call.floats(0)?, bytemuck::cast_slice_mut(call.output));
        Ok(())
    }),
    (&[&kernels::resize_photo::KERNEL], |call| {
        let starts = call.integers(1)?;
        let weights = bytemuck::cast_slice(call.integers(2)?);
        let (params, photo) = (call.params()?, call.floats(0)?);
        twins::resize_photo(&params, photo, starts, weights, bytemuck::cast_slice_mut(call.output));
        Ok(())
    }),
    (&[&kernels::resize_bytes::KERNEL], |call| {
        let [picture, starts, weights] = [call.integers(0)?, call.integers(1)?, call.integers(2)?];
        let weights = bytemuck::cast_slice(weights);
        twins::resize_bytes(&call.params()?, picture, starts, weights, call.floats(3)?, call.output);
        Ok(())
    }),
    (&[&kernels::sigmoid::KERNEL], |call| {
        twins::sigmoid(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (&[&kernels::softmax::KERNEL, &kernels::softmax_lanes::KERNEL], |call| {
        twins::softmax(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (&[&kernels::strided_copy::KERNEL], |call| {
        twins::strided_copy(&call.params()?, call.floats(0)?, call.output);
        Ok(())
    }),
    (&[&kernels::vision_embedding::KERNEL], |call| {
        let [patches, class_embedding] = [call.floats(0)?, call.floats(1)?];
        twins::vision_embedding(&call.params()?, patches, class_embedding, call.floats(2)?, call.output);
        Ok(())
    }),
    (&[&kernels::token_embedding::KERNEL], |call| {
        let [ids, position_ids] = [call.integers(0)?, call.integers(1)?];
        let [tokens, positions] = [call.floats(2)?, call.floats(3)?];
        twins::token_embedding(&call.params()?, ids, position_ids, tokens, positions, call.output);
        Ok(())
    }),
];

/// That of every product of matrices.
fn matmul(call: Call<'_>) -> Result<()> {
    let [input, weight, bias, residual] =
        [call.floats(0)?, call.floats(1)?, call.floats(2)?, call.floats(3)?];
    let activation = call.activation();
    twins::matmul(&call.params()?, activation, input, weight, bias, residual, call.output);
    Ok(())
}

/// The twin of a kernel that lies on buffers.
pub(crate) fn twin_of(kernel: &Kernel) -> Option<Twin> {
    if ops::is_product(kernel) {
        return Some(matmul);
    }
    let is_its = |own: &&Kernel| own.name == kernel.name;
    TWINS.iter().find(|(own, _)| own.iter().any(is_its)).map(|&(_, twin)| twin)
}
