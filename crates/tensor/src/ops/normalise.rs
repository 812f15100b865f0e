use clipseg_shaders::kernels;

use super::activation_dtype::expect_floats;
use super::{expect_shape, shape_error};
use crate::pool::{self, Pooled};
use crate::step::Resource;
use crate::tensor::DType;
use crate::texture::F32_TEXELS;
use crate::{Device, Recorder, Result, Tensor};

/// The longest row that the kernel on vectors keeps in its registers.
const VEC4_MAX_COLUMNS: usize = kernels::layer_norm_vec4::MAX_COLUMNS as usize;
/// The longest row that the subgroup kernel holds, per lane.
const SUBGROUP_MAX_COLUMNS: usize = 4 * kernels::layer_norm_subgroup::TEXELS as usize;

/// A layer norm's weight and bias on the device.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
    for_lanes: Option<ForLanes>,
}

/// What the subgroup kernel reads.
struct ForLanes {
    lanes: u32,
    /// The weight, and below it the bias.
    weight_and_bias: Pooled<wgpu::Texture>,
}

impl LayerNorm {
    /// Uploads `weight` and `bias`, one value per column.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when they differ in length.
    pub fn new(device: &Device, weight: &[f32], bias: &[f32], epsilon: f32) -> Result<Self> {
        if weight.len() != bias.len() {
            return shape_error("layer_norm", format!("{} weights and {} biases", weight.len(), bias.len()));
        }
        let upload = |values: &[f32]| device.upload(&[values.len()], values);
        let for_lanes = device.lanes().filter(|&lanes| {
            weight.len().is_multiple_of(4) && weight.len() <= SUBGROUP_MAX_COLUMNS * lanes as usize
        });
        let for_lanes = for_lanes.map(|lanes| ForLanes::upload(device, lanes, weight, bias)).transpose()?;
        Ok(Self { weight: upload(weight)?, bias: upload(bias)?, epsilon, for_lanes })
    }

    /// Whether the vec4 kernel supports rows of this width. It is the only workgroup kernel of layer norm
    /// that can write f16.
    pub(crate) fn fits_vectors(&self) -> bool {
        let columns = self.weight.len();
        columns.is_multiple_of(4) && columns <= VEC4_MAX_COLUMNS
    }
}

impl ForLanes {
    fn upload(device: &Device, lanes: u32, weight: &[f32], bias: &[f32]) -> Result<Self> {
        let texels = weight.len() / 4;
        let texture = pool::weight_texture(device, F32_TEXELS, texels, 2)?;
        device.write_texture(texture.get(), texels as u32, bytemuck::cast_slice(&[weight, bias].concat()))?;
        Ok(Self { lanes, weight_and_bias: texture })
    }
}

/// Of each value: its sum, its difference from the mean, the square and the squares' sum, then a product with
/// 1 / √(variance + ε) and one with the weight, and the bias.
fn layer_norm_flops(input: &Tensor) -> u64 {
    7 * input.len() as u64
}

impl Recorder {
    /// `(input - mean) / √(variance + ε) · weight + bias` over the last dimension.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the width is another than the layer's.
    pub fn layer_norm(&mut self, input: &Tensor, layer: &LayerNorm) -> Result<Tensor> {
        self.layer_norm_as(DType::F32, input, layer)
    }

    /// As [`layer_norm`](Self::layer_norm), stored as `dtype`.
    ///
    /// # Errors
    /// As [`layer_norm`](Self::layer_norm), and when it is to be stored in f16 but the width is not a
    /// multiple of four up to 1024.
    pub fn layer_norm_as(&mut self, dtype: DType, input: &Tensor, layer: &LayerNorm) -> Result<Tensor> {
        expect_floats("layer_norm", dtype)?;
        expect_shape("layer_norm", "the weight", &layer.weight, &[input.columns()])?;
        let fits = self.device().row_limit().is_some_and(|limit| input.rows() <= limit);
        match layer.for_lanes.as_ref().filter(|_| fits && dtype == DType::F32) {
            Some(for_lanes) => self.layer_norm_subgroup(input, layer, for_lanes),
            None => self.layer_norm_rows(dtype, input, layer),
        }
    }

    fn layer_norm_rows(&mut self, dtype: DType, input: &Tensor, layer: &LayerNorm) -> Result<Tensor> {
        let output = self.allocate(input.shape(), dtype)?;
        let params = kernels::layer_norm::Params {
            rows: input.rows() as u32,
            columns: input.columns() as u32,
            epsilon: layer.epsilon,
        };
        let resources = vec![
            self.buffer(input)?,
            self.buffer(&layer.weight)?,
            self.buffer(&layer.bias)?,
            self.buffer(&output)?,
        ];
        let grid = self.folded_grid(input.rows());
        // Both take the same parameters, which a test in the shader crate sees to.
        let overrides =
            kernels::layer_norm_vec4::Overrides { output_f16: (dtype == DType::F16).into() }.values();
        let (kernel, overrides) = match layer.fits_vectors() && self.device().supports_unpack2x16float() {
            true => (&kernels::layer_norm_vec4::KERNEL, &overrides[..]),
            false => (&kernels::layer_norm::KERNEL, &[][..]),
        };
        self.dispatch(kernel, overrides, params, resources, grid, layer_norm_flops(input))?;
        Ok(output)
    }

    fn layer_norm_subgroup(
        &mut self,
        input: &Tensor,
        layer: &LayerNorm,
        for_lanes: &ForLanes,
    ) -> Result<Tensor> {
        let output = self.allocate_texture(input.shape())?;
        let params =
            kernels::layer_norm_subgroup::Params { rows: input.rows() as u32, epsilon: layer.epsilon };
        let weight_and_bias = for_lanes.weight_and_bias.get().clone();
        let resources = vec![
            self.texture(input)?,
            Resource::texture(weight_and_bias, 2 * layer.weight.bytes()),
            self.texture(&output)?,
        ];
        let column_texels = input.columns() as u32 / 4;
        let overrides =
            kernels::layer_norm_subgroup::Overrides { column_texels, lanes: for_lanes.lanes }.values();
        let grid = [params.rows.div_ceil(kernels::layer_norm_subgroup::ROWS), 1, 1];
        let flops = layer_norm_flops(input);
        let kernel = &kernels::layer_norm_subgroup::KERNEL;
        self.dispatch(kernel, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }

    /// `exp(input) / Σ exp(input)` over the last dimension.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) beyond the adapter's limits.
    pub fn softmax(&mut self, input: &Tensor) -> Result<Tensor> {
        let output = self.allocate(input.shape(), DType::F32)?;
        let params = kernels::softmax::Params { rows: input.rows() as u32, columns: input.columns() as u32 };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        let grid = self.folded_grid(input.rows());
        // The largest, difference, exponential, sum, quotient.
        let flops = 5 * input.len() as u64;
        self.dispatch(&kernels::softmax::KERNEL, &[], params, resources, grid, flops)?;
        Ok(output)
    }
}
