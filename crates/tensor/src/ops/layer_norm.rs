//! Layer norm: its kernels as rows of one table, and which of them serves a call.

#[cfg(not(target_family = "wasm"))]
mod measure;

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{layer_norm, layer_norm_lanes, layer_norm_subgroup, layer_norm_vec4};

use super::activation_dtype::expect_floats;
use super::{ANY_LANES, expect_shape, has_subgroups_of, shape_error};
use crate::pool::{self, Pooled};
use crate::step::Resource;
use crate::tensor::DType;
use crate::texture::F32_TEXELS;
use crate::{Device, Recorder, Result, Tensor};

/// The longest row that the subgroup kernel holds, per lane.
const SUBGROUP_MAX_COLUMNS: usize = 4 * layer_norm_subgroup::TEXELS as usize;

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

/// What a layer norm is asked for.
#[derive(Clone, Copy)]
struct Call<'a> {
    input: &'a Tensor,
    layer: &'a LayerNorm,
    /// What the output's elements are to be.
    output: DType,
}

/// A kernel for layer norm, and what it needs. Those on buffers take the same parameters and resources, which
/// a test in the shader crate holds together.
#[derive(Debug)]
struct Variant {
    kernel: &'static Kernel,
    /// Rows of a workgroup.
    rows: u32,
    /// What the columns have to be a multiple of, and the most that they may be.
    column_multiple: usize,
    max_columns: usize,
    /// Whether its output may be in f16.
    gives_f16: bool,
    /// The values of its overrides.
    overrides: fn(&Call<'_>) -> Vec<(&'static str, u32)>,
}

/// Rows of any width, any adapter.
static PLAIN: Variant = Variant {
    kernel: &layer_norm::KERNEL,
    rows: 1,
    column_multiple: 1,
    max_columns: usize::MAX,
    gives_f16: false,
    overrides: |_| Vec::new(),
};
static VEC4: Variant = Variant {
    kernel: &layer_norm_vec4::KERNEL,
    column_multiple: 4,
    max_columns: layer_norm_vec4::MAX_COLUMNS as usize,
    gives_f16: true,
    overrides: |call| {
        layer_norm_vec4::Overrides { output_f16: (call.output == DType::F16).into() }.values().to_vec()
    },
    ..PLAIN
};
/// On textures, where the layer has one. How wide rows may be depends on the lanes, which the layer's upload
/// has looked at.
static SUBGROUP: Variant = Variant {
    kernel: &layer_norm_subgroup::KERNEL,
    rows: layer_norm_subgroup::ROWS,
    column_multiple: 4,
    overrides: |call| {
        let lanes = call.layer.for_lanes.as_ref().map_or(0, |for_lanes| for_lanes.lanes);
        let column_texels = call.input.columns() as u32 / 4;
        layer_norm_subgroup::Overrides { column_texels, lanes }.values().to_vec()
    },
    ..PLAIN
};
/// In subgroups of any size.
static LANES: Variant = Variant {
    kernel: &layer_norm_lanes::KERNEL,
    rows: layer_norm_lanes::ROWS,
    column_multiple: 4,
    gives_f16: true,
    overrides: |call| {
        layer_norm_lanes::Overrides { output_f16: (call.output == DType::F16).into() }.values().to_vec()
    },
    ..PLAIN
};

/// Every variant. The first that takes a call is its default; those after it serve where they were measured
/// to be faster.
static VARIANTS: [&Variant; 4] = [&SUBGROUP, &VEC4, &PLAIN, &LANES];

impl Variant {
    fn fits(&self, columns: usize) -> bool {
        columns <= self.max_columns && columns.is_multiple_of(self.column_multiple)
    }

    /// Whether it can compute `call` on `device`.
    fn takes(&self, device: &Device, call: &Call<'_>) -> bool {
        let fits_textures = || {
            let row_limit = device.row_limit().unwrap_or(0);
            call.layer.for_lanes.is_some() && call.input.rows() <= row_limit
        };
        call.input.dtype() != DType::F16
            && self.fits(call.input.columns())
            && (self.gives_f16 || call.output != DType::F16)
            && match self.kernel.binds_textures() {
                true => fits_textures(),
                false => {
                    (!self.gives_f16 || device.supports_unpack2x16float())
                        && (!self.kernel.uses_subgroups || has_subgroups_of(device, self.kernel, ANY_LANES))
                }
            }
    }
}

/// The variants that take a call, the default first.
fn candidates(device: &Device, call: &Call<'_>) -> Vec<&'static Variant> {
    VARIANTS.into_iter().filter(|variant| variant.takes(device, call)).collect()
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
            SUBGROUP.fits(weight.len()) && weight.len() <= SUBGROUP_MAX_COLUMNS * lanes as usize
        });
        let for_lanes = for_lanes.map(|lanes| ForLanes::upload(device, lanes, weight, bias)).transpose()?;
        Ok(Self { weight: upload(weight)?, bias: upload(bias)?, epsilon, for_lanes })
    }

    /// Whether the vec4 kernel supports rows of this width. It is the only workgroup kernel of layer norm
    /// that can write f16.
    pub(crate) fn fits_vectors(&self) -> bool {
        VEC4.fits(self.weight.len())
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
    /// multiple of four up to 1024 (of any width with subgroups), or the device reads no f16, as the
    /// processor.
    pub fn layer_norm_as(&mut self, dtype: DType, input: &Tensor, layer: &LayerNorm) -> Result<Tensor> {
        let call = layer_norm_call(dtype, input, layer)?;
        match self.choose(&call, &candidates(self.device(), &call)) {
            Some(variant) => self.layer_norm_with(variant, &call),
            None => shape_error("layer_norm", format!("no kernel takes {input:?} to {dtype:?}; take F32")),
        }
    }

    /// The kernels that can compute [`layer_norm_as`](Self::layer_norm_as); the one that it takes without
    /// tuning first.
    ///
    /// # Errors
    /// As [`layer_norm`](Self::layer_norm).
    pub fn layer_norm_kernels(
        &self,
        dtype: DType,
        input: &Tensor,
        layer: &LayerNorm,
    ) -> Result<Vec<&'static str>> {
        let candidates = candidates(self.device(), &layer_norm_call(dtype, input, layer)?);
        Ok(candidates.into_iter().map(|variant| variant.kernel.name).collect())
    }

    /// As [`layer_norm_as`](Self::layer_norm_as), by one of its
    /// [`layer_norm_kernels`](Self::layer_norm_kernels): for tests and benchmarks.
    ///
    /// # Errors
    /// As [`layer_norm_as`](Self::layer_norm_as), and [`Error::Shape`](crate::Error::Shape) when the kernel
    /// does not take the shape.
    pub fn layer_norm_by(
        &mut self,
        kernel: &str,
        dtype: DType,
        input: &Tensor,
        layer: &LayerNorm,
    ) -> Result<Tensor> {
        let call = layer_norm_call(dtype, input, layer)?;
        let candidates = candidates(self.device(), &call);
        match candidates.into_iter().find(|variant| variant.kernel.name == kernel) {
            Some(variant) => self.layer_norm_with(variant, &call),
            None => shape_error("layer_norm", format!("{kernel} does not take {input:?} to {dtype:?}")),
        }
    }

    /// Layer norm with a variant that takes it.
    fn layer_norm_with(&mut self, variant: &Variant, call: &Call<'_>) -> Result<Tensor> {
        let Call { input, layer, output: dtype } = *call;
        let overrides = (variant.overrides)(call);
        let rows = input.rows() as u32;
        let grid = self.folded_grid(rows.div_ceil(variant.rows) as usize);
        let flops = layer_norm_flops(input);
        if let Some(for_lanes) = layer.for_lanes.as_ref().filter(|_| variant.kernel.binds_textures()) {
            let output = self.allocate_texture(input.shape())?;
            let params = layer_norm_subgroup::Params { rows, epsilon: layer.epsilon };
            let weight_and_bias = for_lanes.weight_and_bias.get().clone();
            let resources = vec![
                self.texture(input)?,
                Resource::texture(weight_and_bias, 2 * layer.weight.bytes()),
                self.texture(&output)?,
            ];
            self.dispatch(variant.kernel, &overrides, params, resources, grid, flops)?;
            return Ok(output);
        }
        let output = self.allocate(input.shape(), dtype)?;
        let params = layer_norm::Params { rows, columns: input.columns() as u32, epsilon: layer.epsilon };
        let resources = vec![
            self.buffer(input)?,
            self.buffer(&layer.weight)?,
            self.buffer(&layer.bias)?,
            self.buffer(&output)?,
        ];
        self.dispatch(variant.kernel, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }
}

fn layer_norm_call<'a>(dtype: DType, input: &'a Tensor, layer: &'a LayerNorm) -> Result<Call<'a>> {
    expect_floats("layer_norm", dtype)?;
    expect_shape("layer_norm", "the weight", &layer.weight, &[input.columns()])?;
    Ok(Call { input, layer, output: dtype })
}
