use clipseg_shaders::kernels;

use super::halves::expect_floats;
use super::{expect_shape, shape_error};
use crate::tensor::Element;
use crate::{Device, Recorder, Result, Tensor};

/// The longest row that the kernel on vectors keeps in its registers.
const VEC4_MAX_COLUMNS: usize = 1024;

/// A layer norm's weight and bias on the device.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl LayerNorm {
    /// Uploads `weight` and `bias`, one value a column.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when they differ in length.
    pub fn new(device: &Device, weight: &[f32], bias: &[f32], epsilon: f32) -> Result<Self> {
        if weight.len() != bias.len() {
            return shape_error("layer_norm", format!("{} weights and {} biases", weight.len(), bias.len()));
        }
        let upload = |values: &[f32]| device.upload(&[values.len()], values);
        Ok(Self { weight: upload(weight)?, bias: upload(bias)?, epsilon })
    }

    /// Whether the kernel on vectors can have rows of so many columns, which alone of the classic ones can write halves.
    pub(crate) fn fits_vectors(&self) -> bool {
        let columns = self.weight.len();
        columns.is_multiple_of(4) && columns <= VEC4_MAX_COLUMNS
    }
}

/// Of each value: its sum, its difference from the mean, the square and the squares' sum, then a product with 1 / √(variance + ε)
/// and one with the weight, and the bias.
fn layer_norm_flops(input: &Tensor) -> u64 {
    7 * input.len() as u64
}

impl Recorder {
    /// `(input - mean) / √(variance + ε) · weight + bias` over the last dimension.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the width is another than the layer's.
    pub fn layer_norm(&mut self, input: &Tensor, layer: &LayerNorm) -> Result<Tensor> {
        self.layer_norm_as(Element::F32, input, layer)
    }

    /// As [`layer_norm`](Self::layer_norm), stored as `element`.
    ///
    /// # Errors
    /// As [`layer_norm`](Self::layer_norm), and when it is to be stored in halves but the width is not a multiple of four up to 1024.
    pub fn layer_norm_as(&mut self, element: Element, input: &Tensor, layer: &LayerNorm) -> Result<Tensor> {
        expect_floats("layer_norm", element)?;
        expect_shape("layer_norm", "the weight", &layer.weight, &[input.columns()])?;
        let fits = |limit| input.columns().is_multiple_of(4) && input.rows() <= limit;
        match self.device().lanes() {
            Some(lanes) if element == Element::F32 && self.device().row_limit().is_some_and(fits) => {
                self.layer_norm_subgroup(input, layer, lanes)
            }
            _ => self.layer_norm_rows(element, input, layer),
        }
    }

    fn layer_norm_rows(&mut self, element: Element, input: &Tensor, layer: &LayerNorm) -> Result<Tensor> {
        let output = self.allocate(input.shape(), element)?;
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
        let overrides = [("OUTPUT_HALVES", (element == Element::F16).into())];
        let (kernel, overrides) = match layer.fits_vectors() && self.device().reads_halves() {
            true => (&kernels::layer_norm_vec4::KERNEL, &overrides[..]),
            false => (&kernels::layer_norm::KERNEL, &[][..]),
        };
        self.dispatch(kernel, overrides, params, resources, grid, layer_norm_flops(input))?;
        Ok(output)
    }

    fn layer_norm_subgroup(&mut self, input: &Tensor, layer: &LayerNorm, lanes: u32) -> Result<Tensor> {
        let output = self.allocate_texture(input.shape())?;
        let params = kernels::layer_norm_subgroup::Params {
            rows: input.rows() as u32,
            column_texels: input.columns() as u32 / 4,
            epsilon: layer.epsilon,
        };
        let resources = vec![
            self.texture(input)?,
            self.buffer(&layer.weight)?,
            self.buffer(&layer.bias)?,
            self.texture(&output)?,
        ];
        let grid = [params.rows, 1, 1];
        self.dispatch(
            &kernels::layer_norm_subgroup::KERNEL,
            &[("LANES", lanes)],
            params,
            resources,
            grid,
            layer_norm_flops(input),
        )?;
        Ok(output)
    }

    /// `exp(input) / Σ exp(input)` over the last dimension.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) beyond the adapter's limits.
    pub fn softmax(&mut self, input: &Tensor) -> Result<Tensor> {
        let output = self.allocate(input.shape(), Element::F32)?;
        let params = kernels::softmax::Params { rows: input.rows() as u32, columns: input.columns() as u32 };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        let grid = self.folded_grid(input.rows());
        // The largest, difference, exponential, sum, quotient.
        let flops = 5 * input.len() as u64;
        self.dispatch(&kernels::softmax::KERNEL, &[], params, resources, grid, flops)?;
        Ok(output)
    }

    /// `input / |input|` over the last dimension.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) beyond the adapter's limits.
    pub fn l2_norm(&mut self, input: &Tensor) -> Result<Tensor> {
        let output = self.allocate(input.shape(), Element::F32)?;
        let params = kernels::l2_norm::Params { rows: input.rows() as u32, columns: input.columns() as u32 };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        let grid = self.elementwise_grid(input.rows());
        // Square, sum, quotient.
        let flops = 3 * input.len() as u64;
        self.dispatch(&kernels::l2_norm::KERNEL, &[], params, resources, grid, flops)?;
        Ok(output)
    }
}
