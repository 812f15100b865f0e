use clipseg_shaders::{Activation, kernels};

use super::linear::SUBGROUP_MIN_COLUMNS;
use super::mlp::{FUSED_MAX_WIDTH, FusedProducts};
use super::{expect_shape, shape_error};
use crate::array::elements;
use crate::tensor::DType;
use crate::{Device, Linear, Recorder, Result, Tensor};

/// One transposed convolution whose kernel equals its stride, before its pixels are put in place: every input
/// pixel becomes its `kernel`² output pixels by one matrix product.
pub struct TransposedConvolution {
    linear: Linear,
    channels: usize,
    kernel: usize,
    /// Pixels that one product makes.
    group: usize,
}

/// What a [`TransposedConvolution`] is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpsampleInput {
    /// A transformer's tokens.
    Tokens,
    /// The pixels that another one made, this many of a token.
    Pixels(usize),
}

impl TransposedConvolution {
    /// Uploads `weight` `[in, out, kernel, kernel]`, as PyTorch's `nn.ConvTranspose2d` has it, and `bias`
    /// `[out]`. One that follows another takes pixels, of which there are many, instead of tokens.
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
        input: UpsampleInput,
    ) -> Result<Self> {
        if Some(weight.len()) != elements(&[channels, outputs, kernel, kernel]) || bias.len() != outputs {
            let reason = format!(
                "{} weights and {} biases for [{channels}, {outputs}, {kernel}, {kernel}]",
                weight.len(),
                bias.len()
            );
            return shape_error("transposed_conv2d", reason);
        }
        let taps = kernel * kernel;
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
        let (linear, group) = match input {
            UpsampleInput::Tokens => {
                (Linear::new(device, columns, channels, &rows, Some(&bias.repeat(taps)))?, 1)
            }
            UpsampleInput::Pixels(count) => {
                let has_lanes = device.lanes().is_some();
                match pixels_of_a_product(count, columns, channels).filter(|_| has_lanes) {
                    Some(group) => {
                        let blocks = block_diagonal(&rows, columns, channels, group);
                        let bias = bias.repeat(group * taps);
                        (Linear::new(device, group * columns, group * channels, &blocks, Some(&bias))?, group)
                    }
                    None => {
                        let bias = bias.repeat(taps);
                        (Linear::for_many_rows(device, columns, channels, &rows, Some(&bias))?, 1)
                    }
                }
            }
        };
        Ok(Self { linear, channels: outputs, kernel, group })
    }

    /// The side of the square that one input pixel becomes.
    #[must_use]
    pub fn kernel(&self) -> usize {
        self.kernel
    }
}

/// How many of a token's `count` pixels the subgroup kernels take at once: a divisor that fills as many
/// columns as the one for two products takes, because the lanes of a product with fewer would idle. Where
/// there are several such groups, each must be whole texels.
fn pixels_of_a_product(count: usize, columns: usize, channels: usize) -> Option<usize> {
    let fits = |group: usize| {
        (SUBGROUP_MIN_COLUMNS..=FUSED_MAX_WIDTH).contains(&(group * columns))
            || (group == 1 && columns >= SUBGROUP_MIN_COLUMNS)
    };
    let fills_texels = |group: usize| {
        group == count || [columns, channels].iter().all(|size| (group * size).is_multiple_of(4))
    };
    (1..=count).rfind(|&group| count.is_multiple_of(group) && fits(group) && fills_texels(group))
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
    /// One or two transposed convolutions in a row, each with kernel = stride, with `activation` between
    /// them. `input` holds maps with channels last, `[images, height · width, channels]`; the output is
    /// `[images, height · k, width · k, outputs]` where `k` is the product of the kernels.
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
        expect_shape("transposed_conv2d", "the input", input, &[images, height * width, input.columns()])?;
        // The second convolution takes pixel by pixel too, so the first one's pixels need not be put in place
        // before it.
        match second {
            None => {
                let pixels = self.pixels(input, 1, first)?;
                self.in_place(&pixels, [images, height, width], 1, first)
            }
            Some((activation, second)) => {
                let groups = first.kernel * first.kernel / second.group;
                let fused = FusedProducts::new(self.device(), &first.linear, &second.linear, groups);
                let pixels = match fused {
                    Some(fused) => self.fused_products(input, &fused, activation, false)?,
                    None => {
                        let between = self.linear_with(input, &first.linear, activation, None)?;
                        self.pixels(&between, first.kernel, second)?
                    }
                };
                self.in_place(&pixels, [images, height, width], first.kernel, second)
            }
        }
    }

    /// The pixels that the last transposed convolution makes of tokens that have `outer`² pixels each: those
    /// of a token side by side, or one below the other; in a buffer that is the same.
    fn pixels(&mut self, input: &Tensor, outer: usize, layer: &TransposedConvolution) -> Result<Tensor> {
        match layer.linear.panels() {
            Some(weight) => {
                let groups = outer * outer / layer.group;
                self.linear_in_groups(input, &layer.linear, weight, groups)
            }
            None => {
                let in_features = layer.linear.in_features();
                let pixels = if input.columns() == in_features {
                    input.clone()
                } else {
                    self.split_rows(input, in_features)?
                };
                self.linear(&pixels, &layer.linear)
            }
        }
    }

    /// Puts the pixels in place that the last transposed convolution made of tokens which had `outer`² pixels
    /// each.
    fn in_place(
        &mut self,
        pixels: &Tensor,
        [images, height, width]: [usize; 3],
        outer: usize,
        layer: &TransposedConvolution,
    ) -> Result<Tensor> {
        let factor = outer * layer.kernel;
        let shape = [images, height * factor, width * factor, layer.channels];
        let output = self.allocate(&shape, DType::F32)?;
        let params = kernels::depth_to_space::Params {
            images: images as u32,
            height: height as u32,
            width: width as u32,
            outer: outer as u32,
            inner: layer.kernel as u32,
            channels: layer.channels as u32,
        };
        let resources = vec![self.buffer(pixels)?, self.buffer(&output)?];
        let run = params.inner * params.channels;
        let overrides = kernels::depth_to_space::Overrides { outer: params.outer, run }.values();
        let grid = self.folded_grid(images * height * factor);
        self.dispatch(&kernels::depth_to_space::KERNEL, &overrides, params, resources, grid, 0)?;
        Ok(output)
    }

    /// The same buffer with rows of `columns` values.
    fn split_rows(&mut self, tensor: &Tensor, columns: usize) -> Result<Tensor> {
        self.buffer_of(tensor)?;
        tensor.view_rows(columns)
    }
}
