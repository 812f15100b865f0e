use clipseg_shaders::{Activation, kernels};

use super::panels::{PANEL_COLUMNS, Panels, TALL_ROWS, panel_depth};
use super::{expect_shape, shape_error};
use crate::cost::product_flops;
use crate::tensor::Element;
use crate::{Device, Linear, Recorder, Result, Tensor};

/// A 3×3 convolution with padding 1: a matrix product over each pixel's neighbourhood, direction by direction.
pub struct Convolution3x3 {
    /// `[outputs, (3, 3, channels)]`; for the subgroup kernel each direction's channels are padded to whole strips.
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
        if weight.len() != outputs * channels * 9 {
            let reason = format!("{} weights for [{outputs}, {channels}, 3, 3]", weight.len());
            return shape_error("conv2d_3x3", reason);
        }
        let lanes = device.lanes();
        let padded = lanes.map_or(channels, |lanes| channels.next_multiple_of(panel_depth(lanes)));
        let inner = 9 * padded;
        let mut rows = vec![0.0; outputs * inner];
        for output in 0..outputs {
            for channel in 0..channels {
                for direction in 0..9 {
                    rows[output * inner + direction * padded + channel] =
                        weight[(output * channels + channel) * 9 + direction];
                }
            }
        }
        let linear = match lanes {
            Some(lanes) => Linear::in_full_panels(device, lanes, [outputs, inner], &rows, bias)?,
            None => Linear::new(device, outputs, inner, &rows, Some(bias))?,
        };
        Ok(Self { linear, channels })
    }
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
        expect_shape("conv2d_3x3", "the input", input, &expected)?;
        if let Some(weight) = layer.linear.panels() {
            return self.conv2d_3x3_subgroup(input, [images, height, width, skip], layer, weight, activation);
        }
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

    fn conv2d_3x3_subgroup(
        &mut self,
        input: &Tensor,
        [images, height, width, skip]: [usize; 4],
        layer: &Convolution3x3,
        weight: &Panels,
        activation: Activation,
    ) -> Result<Tensor> {
        let outputs = layer.linear.columns();
        let output = self.allocate_texture(&[images, height * width, outputs])?;
        let params = kernels::conv2d_3x3_subgroup::Params {
            images: images as u32,
            height: height as u32,
            width: width as u32,
            skip: skip as u32,
            channel_texels: layer.channels.div_ceil(4) as u32,
            column_texels: outputs.div_ceil(4) as u32,
        };
        let bias = self.buffer_or_empty(layer.linear.bias())?;
        let resources =
            vec![self.texture(input)?, weight.resource(self.device())?, bias, self.texture(&output)?];
        let overrides = [("ACTIVATION", activation as u32), weight.lanes_override()];
        let rows = images * height * width;
        let grid = [rows.div_ceil(TALL_ROWS) as u32, outputs.div_ceil(PANEL_COLUMNS) as u32, 1];
        let flops = product_flops(rows, 9 * layer.channels, outputs);
        self.dispatch(&kernels::conv2d_3x3_subgroup::KERNEL, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }
}
