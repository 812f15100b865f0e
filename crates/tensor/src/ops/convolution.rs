use clipseg_shaders::{Activation, kernels};

use super::shape_error;
use crate::tensor::Element;
use crate::{Device, Linear, Recorder, Result, Tensor};

/// A 3×3 convolution with padding 1: a matrix product over gathered neighbourhoods.
pub struct Convolution3x3 {
    linear: Linear,
    channels: usize,
}

impl Convolution3x3 {
    /// Uploads `weight` `[out, in, 3, 3]`, as PyTorch's `nn.Conv2d` has it, and `bias` `[out]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the lengths do not fit.
    pub fn new(
        device: &Device,
        outputs: usize,
        channels: usize,
        weight: &[f32],
        bias: &[f32],
    ) -> Result<Self> {
        let inner = 9 * channels;
        if weight.len() != outputs * inner {
            return shape_error(
                "conv2d_3x3",
                format!("{} weights for [{outputs}, {channels}, 3, 3]", weight.len()),
            );
        }
        let mut rows = vec![0.0; weight.len()];
        for output in 0..outputs {
            for channel in 0..channels {
                for tap in 0..9 {
                    rows[output * inner + tap * channels + channel] =
                        weight[(output * channels + channel) * 9 + tap];
                }
            }
        }
        Ok(Self { linear: Linear::new(device, outputs, inner, &rows, Some(bias))?, channels })
    }
}

/// One transposed convolution whose kernel equals its stride, before its pixels are put in place: every input pixel becomes
/// its `kernel`² output pixels by one matrix product.
pub struct TransposedConvolution {
    linear: Linear,
    channels: usize,
    kernel: usize,
    /// Whether a row of the product's input is all pixels of a token rather than one.
    by_token: bool,
}

/// What a [`TransposedConvolution`] is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A transformer's tokens.
    Tokens,
    /// The pixels that another one made, this many of a token.
    Pixels(usize),
}

/// Beyond this many weights a product over all pixels of a token costs more than it saves.
const MOST_BLOCK_WEIGHTS: usize = 4 << 20;

impl TransposedConvolution {
    /// Uploads `weight` `[in, out, kernel, kernel]`, as PyTorch's `nn.ConvTranspose2d` has it, and `bias` `[out]`. One that
    /// follows another takes pixels, of which there are many, instead of tokens.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the lengths do not fit.
    pub fn new(
        device: &Device,
        channels: usize,
        outputs: usize,
        kernel: usize,
        weight: &[f32],
        bias: &[f32],
        takes: Takes,
    ) -> Result<Self> {
        let taps = kernel * kernel;
        if weight.len() != channels * outputs * taps || bias.len() != outputs {
            let reason = format!(
                "{} weights and {} biases for [{channels}, {outputs}, {kernel}, {kernel}]",
                weight.len(),
                bias.len()
            );
            return shape_error("transposed_conv2d", reason);
        }
        let columns = taps * outputs;
        let mut rows = vec![0.0; weight.len()];
        for channel in 0..channels {
            for output in 0..outputs {
                for tap in 0..taps {
                    rows[(tap * outputs + output) * channels + channel] =
                        weight[(channel * outputs + output) * taps + tap];
                }
            }
        }
        let bias = bias.repeat(taps);
        let made = |linear, by_token| Self { linear, channels: outputs, kernel, by_token };
        match takes {
            Takes::Tokens => Ok(made(Linear::new(device, columns, channels, &rows, Some(&bias))?, true)),
            // The subgroup kernel wants few, wide rows. One product with the weight repeated along the diagonal is mostly
            // zeros, but ten times faster than the tiled kernel on millions of narrow rows.
            Takes::Pixels(count)
                if device.runs_subgroup_kernels() && count * count * rows.len() <= MOST_BLOCK_WEIGHTS =>
            {
                let blocks = block_diagonal(&rows, columns, channels, count);
                let bias = bias.repeat(count);
                Ok(made(Linear::new(device, count * columns, count * channels, &blocks, Some(&bias))?, true))
            }
            Takes::Pixels(_) => {
                Ok(made(Linear::for_many_rows(device, columns, channels, &rows, Some(&bias))?, false))
            }
        }
    }

    /// The side of the square that one input pixel becomes.
    #[must_use]
    pub fn kernel(&self) -> usize {
        self.kernel
    }
}

/// `[count · columns, count · inner]` with `weight` `[columns, inner]` as every block of the diagonal.
fn block_diagonal(weight: &[f32], columns: usize, inner: usize, count: usize) -> Vec<f32> {
    let mut blocks = vec![0.0; count * count * weight.len()];
    for block in 0..count {
        for (column, row) in weight.chunks_exact(inner).enumerate() {
            let start = ((block * columns + column) * count + block) * inner;
            blocks[start..start + inner].copy_from_slice(row);
        }
    }
    blocks
}

impl Recorder {
    /// `activation(conv(input))` of maps with channels last, `[images, skip + height · width, channels]`, of which the first
    /// `skip` rows (a class token) are left out: `[images, height · width, outputs]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit.
    pub fn conv2d_3x3(
        &mut self,
        input: &Tensor,
        (height, width): (usize, usize),
        skip: usize,
        layer: &Convolution3x3,
        activation: Activation,
    ) -> Result<Tensor> {
        let images = input.shape().first().copied().unwrap_or(1);
        let expected = [images, skip + height * width, layer.channels];
        super::expect_shape("conv2d_3x3", "the input", input, &expected)?;
        let columns = self.allocate(&[images, height * width, 9 * layer.channels], Element::F32)?;
        let params = kernels::im2col_3x3::Params {
            images: images as u32,
            height: height as u32,
            width: width as u32,
            channels: layer.channels as u32,
            skip: skip as u32,
        };
        let resources = vec![self.buffer(input)?, self.buffer(&columns)?];
        let grid = self.elementwise_grid(columns.len());
        self.dispatch(&kernels::im2col_3x3::KERNEL, &[], params, resources, grid, 0)?;
        self.linear_with(&columns, &layer.linear, activation, None)
    }

    /// One or two transposed convolutions in a row, each with kernel = stride, with `activation` between them. `input` holds
    /// maps with channels last, `[images, height · width, channels]`; the output is `[images, height · k, width · k, outputs]`
    /// where `k` is the product of the kernels.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit.
    pub fn transposed_conv2d(
        &mut self,
        input: &Tensor,
        (height, width): (usize, usize),
        first: &TransposedConvolution,
        second: Option<(Activation, &TransposedConvolution)>,
    ) -> Result<Tensor> {
        let images = input.shape().first().copied().unwrap_or(1);
        super::expect_shape(
            "transposed_conv2d",
            "the input",
            input,
            &[images, height * width, input.columns()],
        )?;
        let between = second.map_or(Activation::None, |(activation, _)| activation);
        let outer = self.linear_with(input, &first.linear, between, None)?;
        let Some((_, second)) = second else {
            return self.depth_to_space(&outer, images, (height, width), first, None);
        };
        // The second convolution takes pixel by pixel too, so the first one's pixels need not be put in place before it.
        let inner = if second.by_token {
            self.linear(&outer, &second.linear)?
        } else {
            let pixels = self.split_rows(&outer, first.channels)?;
            self.linear(&pixels, &second.linear)?
        };
        self.depth_to_space(&inner, images, (height, width), first, Some(second))
    }

    /// The same buffer with rows of `columns` values.
    fn split_rows(&mut self, tensor: &Tensor, columns: usize) -> Result<Tensor> {
        self.buffer_of(tensor)?;
        tensor.regroup(columns)
    }

    fn depth_to_space(
        &mut self,
        input: &Tensor,
        images: usize,
        (height, width): (usize, usize),
        first: &TransposedConvolution,
        second: Option<&TransposedConvolution>,
    ) -> Result<Tensor> {
        let inner = second.map_or(1, |second| second.kernel);
        let channels = second.unwrap_or(first).channels;
        let factor = first.kernel * inner;
        let output = self.allocate(&[images, height * factor, width * factor, channels], Element::F32)?;
        let params = kernels::depth_to_space::Params {
            images: images as u32,
            height: height as u32,
            width: width as u32,
            outer: first.kernel as u32,
            inner: inner as u32,
            channels: channels as u32,
        };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        let grid = self.elementwise_grid(output.len());
        self.dispatch(&kernels::depth_to_space::KERNEL, &[], params, resources, grid, 0)?;
        Ok(output)
    }
}
