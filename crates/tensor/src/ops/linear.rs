use clipseg_shaders::{Activation, kernels};

use super::{expect_shape, shape_error};
use crate::cost::product_flops;
use crate::pool::Pooled;
use crate::step::Resource;
use crate::tensor::Element;
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
    /// `[columns, inner]`, for the tiled kernel.
    Rows(Tensor),
    /// `[inner, columns]` in panels, for the subgroup kernels: see [`upload_panels`].
    Panels(Pooled<wgpu::Texture>),
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
            Weight::Panels(upload_panels(device, columns, inner, weight)?)
        } else {
            Weight::Rows(device.upload(&[columns, inner], weight)?)
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

    /// Bytes of the weight without what panels are padded with.
    pub(crate) fn weight_bytes(&self) -> u64 {
        4 * (self.columns * self.inner) as u64
    }

    /// The bias, where there is one.
    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// The weight in the subgroup kernels' panels, where it has that form.
    pub(crate) fn panels(&self) -> Option<&wgpu::Texture> {
        match &self.weight {
            Weight::Rows(_) => None,
            Weight::Panels(weight) => Some(weight.get()),
        }
    }
}

/// A weight `[columns, inner]` as the subgroup kernels read it, from end to end: a panel of [`PANEL_COLUMNS`] columns after
/// the other, in each [`PANEL_DEPTH`] values of `inner` a row of the texture, for each of them the panel's columns. Padded
/// with zeros to whole panels and rows.
fn upload_panels(
    device: &Device,
    columns: usize,
    inner: usize,
    weight: &[f32],
) -> Result<Pooled<wgpu::Texture>> {
    let (panels, steps) = (columns.div_ceil(PANEL_COLUMNS), inner.div_ceil(PANEL_DEPTH));
    let width = PANEL_DEPTH * PANEL_COLUMNS;
    let mut values = vec![0.0; panels * steps * width];
    for (row, values) in values.chunks_exact_mut(width).enumerate() {
        let (panel, step) = (row / steps, row % steps);
        let depth = PANEL_DEPTH.min(inner - step * PANEL_DEPTH);
        for column in 0..PANEL_COLUMNS.min(columns - panel * PANEL_COLUMNS) {
            let start = (panel * PANEL_COLUMNS + column) * inner + step * PANEL_DEPTH;
            for (place, &value) in weight[start..start + depth].iter().enumerate() {
                values[place * PANEL_COLUMNS + column] = value;
            }
        }
    }
    let texture = pool::texture(device, None, panels * steps, width)?;
    device.write_texture(texture.get(), &values)?;
    Ok(texture)
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
        if input.columns() != layer.inner {
            return shape_error("linear", format!("{input:?} into a layer of {} inputs", layer.inner));
        }
        let mut shape = input.shape().to_vec();
        shape.pop();
        shape.push(layer.columns);
        if let Some(residual) = residual {
            expect_shape("linear", "the residual", residual, &shape)?;
        }
        match &layer.weight {
            Weight::Rows(weight) => self.matmul_tile(input, layer, weight, &shape, activation, residual),
            Weight::Panels(weight) => {
                self.matmul_subgroup(input, layer, weight.get(), &shape, activation, residual)
            }
        }
    }

    fn matmul_tile(
        &mut self,
        input: &Tensor,
        layer: &Linear,
        weight: &Tensor,
        shape: &[usize],
        activation: Activation,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let output = self.allocate(shape, Element::F32)?;
        let params = kernels::matmul_tile::Params {
            rows: input.rows() as u32,
            columns: layer.columns as u32,
            inner: layer.inner as u32,
            has_bias: layer.bias.is_some().into(),
            has_residual: residual.is_some().into(),
        };
        let resources = vec![
            self.buffer(input)?,
            self.buffer(weight)?,
            self.buffer_or_empty(layer.bias.as_ref())?,
            self.buffer_or_empty(residual)?,
            self.buffer(&output)?,
        ];
        let grid = [params.columns.div_ceil(64), params.rows.div_ceil(64), 1];
        let overrides = [("ACTIVATION", activation as u32)];
        let flops = product_flops(input.rows(), layer.inner, layer.columns);
        self.dispatch(&kernels::matmul_tile::KERNEL, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }

    fn matmul_subgroup(
        &mut self,
        input: &Tensor,
        layer: &Linear,
        weight: &wgpu::Texture,
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
            Resource::texture(weight.clone(), layer.weight_bytes()),
            self.buffer_or_empty(layer.bias.as_ref())?,
            self.texture_or_empty(residual)?,
            self.texture(&output)?,
        ];
        let overrides = [("ACTIVATION", activation as u32)];
        let has_bias = layer.bias.is_some().into();
        let has_residual = residual.is_some().into();
        let panels = layer.columns.div_ceil(PANEL_COLUMNS) as u32;
        let flops = product_flops(input.rows(), layer.inner, layer.columns);
        if tall {
            let kernel = &kernels::matmul_subgroup_24::KERNEL;
            let params = kernels::matmul_subgroup_24::Params {
                rows,
                column_texels,
                inner_texels,
                has_bias,
                has_residual,
            };
            self.dispatch(kernel, &overrides, params, resources, [rows.div_ceil(24), panels, 1], flops)?;
        } else {
            let kernel = &kernels::matmul_subgroup_16::KERNEL;
            let params = kernels::matmul_subgroup_16::Params {
                rows,
                column_texels,
                inner_texels,
                has_bias,
                has_residual,
            };
            self.dispatch(kernel, &overrides, params, resources, [rows.div_ceil(16), panels, 1], flops)?;
        }
        Ok(output)
    }
}
