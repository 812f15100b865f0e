use clipseg_tensor::{
    Activation, Convolution3x3, Device, Recorder, Result, Tensor, TransposedConvolution, UpsampleInput,
    Weights,
};

use crate::DecoderConfig;

/// Turns tokens into pixels; `transposed_convolution` in the checkpoint.
// A model has only one of these, so the size of the smaller variant does not matter.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Upsampler {
    /// One transposed convolution, which makes one patch per token.
    Simple(TransposedConvolution),
    /// A 3×3 convolution, then two transposed convolutions whose kernel and stride are a quarter of the patch
    /// size; they make (patch / 4)² pixels per token along each side.
    Complex { smooth: Convolution3x3, first: TransposedConvolution, second: TransposedConvolution },
}

impl Upsampler {
    pub fn load<W: Weights>(
        device: &Device,
        weights: &W,
        prefix: &str,
        config: &DecoderConfig,
    ) -> std::result::Result<Self, W::Error> {
        let width = config.reduce_dim;
        let name = format!("{prefix}transposed_convolution");
        let transposed =
            |name: String, channels: usize, outputs: usize, kernel: usize, input: UpsampleInput| {
                let weight =
                    weights.floats(&format!("{name}.weight"), &[channels, outputs, kernel, kernel])?;
                let bias = weights.floats(&format!("{name}.bias"), &[outputs])?;
                Ok::<_, W::Error>(TransposedConvolution::new(
                    device, channels, outputs, kernel, &weight, &bias, input,
                )?)
            };
        if !config.use_complex_transposed_convolution {
            return Ok(Self::Simple(transposed(name, width, 1, config.patch_size, UpsampleInput::Tokens)?));
        }
        let kernel = config.patch_size / 4;
        let weight = weights.floats(&format!("{name}.0.weight"), &[width, width, 3, 3])?;
        let bias = weights.floats(&format!("{name}.0.bias"), &[width])?;
        Ok(Self::Complex {
            smooth: Convolution3x3::new(device, width, width, &weight, &bias)?,
            first: transposed(format!("{name}.2"), width, width / 2, kernel, UpsampleInput::Tokens)?,
            second: transposed(
                format!("{name}.4"),
                width / 2,
                1,
                kernel,
                UpsampleInput::Pixels(kernel * kernel),
            )?,
        })
    }

    /// Turns `hidden_states` `[pairs, 1 + rows · columns, reduce_dim]`, with the class token first, into
    /// logits `[pairs, rows · scale, columns · scale]`.
    pub fn record(
        &self,
        recorder: &mut Recorder,
        hidden_states: &Tensor,
        grid: (usize, usize),
    ) -> Result<Tensor> {
        let relu = Activation::Relu;
        match self {
            Self::Simple(transposed) => {
                let maps = recorder.drop_class_token(hidden_states)?;
                recorder.transposed_conv2d(&maps, grid, transposed, None)
            }
            Self::Complex { smooth, first, second } => {
                let maps = recorder.conv2d_3x3(hidden_states, grid, 1, smooth, relu)?;
                recorder.transposed_conv2d(&maps, grid, first, Some((relu, second)))
            }
        }
    }
}
