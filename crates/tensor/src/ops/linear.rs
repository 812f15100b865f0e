use clipseg_shaders::Activation;
use clipseg_shaders::kernels::{
    matmul_subgroup_16, matmul_subgroup_16_f16, matmul_subgroup_24, matmul_subgroup_24_f16,
};

use super::matmul::{Operands, RowWeight};
use super::{expect_shape, shape_error};
use crate::cost::product_flops;
use crate::device::{FLOATS, HALVES};
use crate::pool::Pooled;
use crate::step::Resource;
use crate::{Device, Recorder, Result, Tensor, pool};

/// Weights narrower than this many columns leave most lanes of the subgroup kernel idle.
const SUBGROUP_MIN_COLUMNS: usize = 32;
/// Columns of a panel of the subgroup kernels' weight, and texels of that.
const PANEL_COLUMNS: usize = 64;
/// Rows of the weight that a panel has in one row of its texture: what the kernels walk in a step.
const PANEL_DEPTH: usize = 32;

/// A linear layer's weight and bias on the device, in the layout that its kernel wants.
pub struct Linear {
    columns: usize,
    inner: usize,
    weight: Weight,
    bias: Option<Tensor>,
}

enum Weight {
    /// `[columns, inner]`, for the kernels on buffers.
    Rows(RowWeight),
    /// `[inner, columns]` in panels, for the subgroup kernels.
    Panels(Panels),
}

/// A weight `[columns, inner]` as the subgroup kernels read it, from end to end: a panel of [`PANEL_COLUMNS`] columns after
/// the other, in each [`PANEL_DEPTH`] values of `inner` a row of the texture, for each of them the panel's columns. Padded
/// with zeros to whole panels and rows. Halves lie eight a texel: four columns of two values of `inner`.
pub(crate) struct Panels {
    texture: Pooled<wgpu::Texture>,
    /// What the kernel has to read of it, the padding left out.
    bytes: u64,
    pub is_half: bool,
}

impl Linear {
    /// Uploads a layer: `weight` is `[columns, inner]`, as PyTorch's `nn.Linear` has it, and `bias` `[columns]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the lengths do not fit, [`Error::TooLarge`](crate::Error::TooLarge)
    /// beyond the adapter's limits.
    pub fn new(
        device: &Device,
        columns: usize,
        inner: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        let subgroups = device.runs_subgroup_kernels() && columns >= SUBGROUP_MIN_COLUMNS;
        Self::with_form(device, [columns, inner], weight, bias, subgroups)
    }

    /// As [`new`](Self::new), for inputs of any number of rows: a batch of pixels has more than a texture is high.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn for_many_rows(
        device: &Device,
        columns: usize,
        inner: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        Self::with_form(device, [columns, inner], weight, bias, false)
    }

    fn with_form(
        device: &Device,
        [columns, inner]: [usize; 2],
        weight: &[f32],
        bias: Option<&[f32]>,
        subgroups: bool,
    ) -> Result<Self> {
        if weight.len() != columns * inner || bias.is_some_and(|bias| bias.len() != columns) {
            let bias = bias.map(<[f32]>::len);
            let reason = format!("[{columns}, {inner}] from {} weights, {bias:?} biases", weight.len());
            return shape_error("linear", reason);
        }
        let bias = bias.map(|bias| device.upload(&[columns], bias)).transpose()?;
        let weight = if subgroups {
            Weight::Panels(Panels::upload(device, columns, inner, weight)?)
        } else {
            Weight::Rows(RowWeight::upload(device, columns, inner, weight)?)
        };
        Ok(Self { columns, inner, weight, bias })
    }

    /// The width of the output.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The width of the input.
    #[must_use]
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// The bias, where there is one.
    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// The weight in the subgroup kernels' panels, where it has that form.
    pub(crate) fn panels(&self) -> Option<&Panels> {
        match &self.weight {
            Weight::Rows(_) => None,
            Weight::Panels(weight) => Some(weight),
        }
    }

    /// The weight in its rows, where it has that form.
    pub(super) fn rows(&self) -> Option<&RowWeight> {
        match &self.weight {
            Weight::Rows(weight) => Some(weight),
            Weight::Panels(_) => None,
        }
    }

    /// The shape of the output, if the input and the residual fit.
    pub(super) fn output_shape(&self, input: &Tensor, residual: Option<&Tensor>) -> Result<Vec<usize>> {
        if input.columns() != self.inner {
            return shape_error("linear", format!("{input:?} into a layer of {} inputs", self.inner));
        }
        let mut shape = input.shape().to_vec();
        shape.pop();
        shape.push(self.columns);
        if let Some(residual) = residual {
            expect_shape("linear", "the residual", residual, &shape)?;
        }
        Ok(shape)
    }
}

impl Panels {
    /// Uploads `weight`, in halves where the device's precision wants that.
    fn upload(device: &Device, columns: usize, inner: usize, weight: &[f32]) -> Result<Self> {
        let is_half = device.precision().halves(weight);
        let (panels, steps) = (columns.div_ceil(PANEL_COLUMNS), inner.div_ceil(PANEL_DEPTH));
        let width = PANEL_DEPTH * PANEL_COLUMNS;
        let place = |depth: usize, column: usize| match is_half {
            true => (depth / 2 * PANEL_COLUMNS + column / 4 * 4) * 2 + depth % 2 * 4 + column % 4,
            false => depth * PANEL_COLUMNS + column,
        };
        let mut values = vec![0.0; panels * steps * width];
        for (row, values) in values.chunks_exact_mut(width).enumerate() {
            let (panel, step) = (row / steps, row % steps);
            let depth = PANEL_DEPTH.min(inner - step * PANEL_DEPTH);
            for column in 0..PANEL_COLUMNS.min(columns - panel * PANEL_COLUMNS) {
                let start = (panel * PANEL_COLUMNS + column) * inner + step * PANEL_DEPTH;
                for (depth, &value) in weight[start..start + depth].iter().enumerate() {
                    values[place(depth, column)] = value;
                }
            }
        }
        let (format, values_a_texel) = if is_half { (HALVES, 8) } else { (FLOATS, 4) };
        let texture = pool::weight_texture(device, format, width / values_a_texel, panels * steps)?;
        if is_half {
            let halves: Vec<_> = values.iter().map(|&value| half::f16::from_f32(value)).collect();
            device.write_texture(texture.get(), bytemuck::cast_slice(&halves))?;
        } else {
            device.write_texture(texture.get(), bytemuck::cast_slice(&values))?;
        }
        let bytes = (16 / values_a_texel * columns * inner) as u64;
        Ok(Self { texture, bytes, is_half })
    }

    pub(crate) fn resource(&self) -> Resource {
        Resource::texture(self.texture.get().clone(), self.bytes)
    }
}

impl Recorder {
    /// `input [.., inner] · weightᵀ + bias`, `[.., columns]`.
    ///
    /// # Errors
    /// As [`linear_with`](Self::linear_with).
    pub fn linear(&mut self, input: &Tensor, layer: &Linear) -> Result<Tensor> {
        self.linear_with(input, layer, Activation::None, None)
    }

    /// `activation(input [.., inner] · weightᵀ + bias) + residual [.., columns]`, in one pass over memory.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit, or the rows exceed [`Device::row_limit`].
    pub fn linear_with(
        &mut self,
        input: &Tensor,
        layer: &Linear,
        activation: Activation,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let shape = layer.output_shape(input, residual)?;
        match &layer.weight {
            Weight::Rows(weight) => {
                let operands = Operands { input, weight, bias: layer.bias(), residual, activation };
                self.matmul(&operands, &shape)
            }
            Weight::Panels(weight) => {
                self.matmul_subgroup(input, layer, weight, &shape, activation, residual)
            }
        }
    }

    fn matmul_subgroup(
        &mut self,
        input: &Tensor,
        layer: &Linear,
        weight: &Panels,
        shape: &[usize],
        activation: Activation,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let output = self.allocate_texture(shape)?;
        let rows = input.rows() as u32;
        // 24 rows a workgroup are a tenth faster a row; 16 waste less on a short prompt.
        let tall = 10 * rows.next_multiple_of(24) < 11 * rows.next_multiple_of(16);
        let column_texels = layer.columns.div_ceil(4) as u32;
        let inner_texels = layer.inner.div_ceil(4) as u32;
        let resources = vec![
            self.texture(input)?,
            weight.resource(),
            self.buffer_or_empty(layer.bias.as_ref())?,
            self.texture_or_empty(residual)?,
            self.texture(&output)?,
        ];
        let overrides = [("ACTIVATION", activation as u32)];
        let has_bias = layer.bias.is_some().into();
        let has_residual = residual.is_some().into();
        let panels = layer.columns.div_ceil(PANEL_COLUMNS) as u32;
        let flops = product_flops(input.rows(), layer.inner, layer.columns);
        // All four take the same parameters, which a test in the shader crate sees to.
        let params = matmul_subgroup_16::Params { rows, column_texels, inner_texels, has_bias, has_residual };
        let (kernel, tile) = match (tall, weight.is_half) {
            (false, false) => (&matmul_subgroup_16::KERNEL, 16),
            (false, true) => (&matmul_subgroup_16_f16::KERNEL, 16),
            (true, false) => (&matmul_subgroup_24::KERNEL, 24),
            (true, true) => (&matmul_subgroup_24_f16::KERNEL, 24),
        };
        self.dispatch(kernel, &overrides, params, resources, [rows.div_ceil(tile), panels, 1], flops)?;
        Ok(output)
    }
}
