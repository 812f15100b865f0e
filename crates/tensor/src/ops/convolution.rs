use clipseg_shaders::{Activation, kernels};

use super::{expect_shape, shape_error};
use crate::array::elements;
use crate::tensor::DType;
use crate::{Device, Linear, Recorder, Result, Tensor};

/// A 3×3 convolution with padding 1: a matrix product over each pixel's neighbourhood, direction by
/// direction.
pub struct Convolution3x3 {
    /// `[outputs, (3, 3, channels)]`
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
        if Some(weight.len()) != elements(&[outputs, channels, 9]) {
            let reason = format!("{} weights for [{outputs}, {channels}, 3, 3]", weight.len());
            return shape_error("conv2d_3x3", reason);
        }
        let inner = 9 * channels;
        let mut rows = vec![0.0; outputs * inner];
        for output in 0..outputs {
            for channel in 0..channels {
                for direction in 0..9 {
                    rows[output * inner + direction * channels + channel] =
                        weight[(output * channels + channel) * 9 + direction];
                }
            }
        }
        Ok(Self { linear: Linear::new(device, outputs, inner, &rows, Some(bias))?, channels })
    }
}

impl Recorder {
    /// `activation(conv(input))` of maps with channels last, `[images, skip + height · width, channels]`, of
    /// which the first `skip` rows (a class token) are left out: `[images, height · width, outputs]`.
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
        let rows = elements(&[height, width]).and_then(|pixels| pixels.checked_add(skip));
        let Some(rows) = rows else {
            return shape_error("conv2d_3x3", format!("maps of {height} by {width} behind {skip} rows"));
        };
        expect_shape("conv2d_3x3", "the input", input, &[images, rows, layer.channels])?;
        let sizes = [images, height, width];
        let columns = match self.device().lanes().filter(|_| layer.channels.is_multiple_of(4)) {
            Some(lanes) => self.im2col_3x3_subgroup(input, sizes, skip, layer.channels, lanes)?,
            None => self.im2col_3x3(input, sizes, skip, layer.channels)?,
        };
        self.linear_with(&columns, &layer.linear, activation, None)
    }

    fn im2col_3x3(
        &mut self,
        input: &Tensor,
        [images, height, width]: [usize; 3],
        skip: usize,
        channels: usize,
    ) -> Result<Tensor> {
        let columns = self.allocate(&[images, height * width, 9 * channels], DType::F32)?;
        let params = kernels::im2col_3x3::Params {
            images: images as u32,
            height: height as u32,
            width: width as u32,
            channels: channels as u32,
            skip: skip as u32,
        };
        let resources = vec![self.buffer(input)?, self.buffer(&columns)?];
        self.dispatch_rows(&kernels::im2col_3x3::KERNEL, params, resources, columns.rows(), 0)?;
        Ok(columns)
    }

    fn im2col_3x3_subgroup(
        &mut self,
        input: &Tensor,
        [images, height, width]: [usize; 3],
        skip: usize,
        channels: usize,
        lanes: u32,
    ) -> Result<Tensor> {
        let columns = self.allocate_texture(&[images, height * width, 9 * channels])?;
        let params = kernels::im2col_3x3_subgroup::Params {
            images: images as u32,
            height: height as u32,
            width: width as u32,
            channel_texels: channels as u32 / 4,
            skip: skip as u32,
        };
        let resources = vec![self.texture(input)?, self.texture(&columns)?];
        let overrides = kernels::im2col_3x3_subgroup::Overrides { lanes }.values();
        let pixels = (height * width) as u32;
        let grid = [pixels.div_ceil(kernels::im2col_3x3_subgroup::ROWS), params.images, 1];
        self.dispatch(&kernels::im2col_3x3_subgroup::KERNEL, &overrides, params, resources, grid, 0)?;
        Ok(columns)
    }
}
