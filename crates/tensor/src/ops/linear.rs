use clipseg_shaders::Activation;
use clipseg_shaders::kernels::{matmul_subgroup, matmul_subgroup_packed_f16};

use super::activation_dtype::expect_floats;
use super::matmul::{Operands, RowWeight};
use super::panels::{PRODUCT_ROWS, Panels, panel_columns};
use super::{expect_shape, shape_error};
use crate::array::elements;
use crate::cost::product_flops;
use crate::tensor::DType;
use crate::{Device, Recorder, Result, Tensor};

/// Weights narrower than this many columns leave most lanes of the subgroup kernel idle.
pub(super) const SUBGROUP_MIN_COLUMNS: usize = 32;

/// A linear layer's weight and bias on the device, in the layout that its kernel wants.
pub struct Linear {
    out_features: usize,
    in_features: usize,
    weight: Weight,
    bias: Option<Tensor>,
}

enum Weight {
    /// `[out_features, in_features]`, for the kernels on buffers.
    Rows(RowWeight),
    /// `[in_features, out_features]` in panels, for the subgroup kernels.
    Panels(Panels),
}

impl Linear {
    /// Uploads a layer: `weight` is `[out_features, in_features]`, as PyTorch's `nn.Linear` has it, and
    /// `bias` `[out_features]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the lengths do not fit,
    /// [`Error::TooLarge`](crate::Error::TooLarge) beyond the adapter's limits.
    pub fn new(
        device: &Device,
        out_features: usize,
        in_features: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        let lanes = device.lanes().filter(|_| out_features >= SUBGROUP_MIN_COLUMNS);
        Self::with_form([out_features, in_features], weight, bias, device, || match lanes {
            Some(lanes) => {
                Panels::upload(device, lanes, [out_features, in_features], weight).map(Weight::Panels)
            }
            None => RowWeight::upload(device, out_features, in_features, weight).map(Weight::Rows),
        })
    }

    /// As [`new`](Self::new), for inputs of any number of rows: a batch of pixels has more than a texture is
    /// high.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn for_many_rows(
        device: &Device,
        out_features: usize,
        in_features: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        Self::with_form([out_features, in_features], weight, bias, device, || {
            RowWeight::upload(device, out_features, in_features, weight).map(Weight::Rows)
        })
    }

    fn with_form(
        [out_features, in_features]: [usize; 2],
        weight: &[f32],
        bias: Option<&[f32]>,
        device: &Device,
        upload: impl FnOnce() -> Result<Weight>,
    ) -> Result<Self> {
        if Some(weight.len()) != elements(&[out_features, in_features])
            || bias.is_some_and(|bias| bias.len() != out_features)
        {
            let bias = bias.map(<[f32]>::len);
            let reason =
                format!("[{out_features}, {in_features}] from {} weights, {bias:?} biases", weight.len());
            return shape_error("linear", reason);
        }
        let bias = bias.map(|bias| device.upload(&[out_features], bias)).transpose()?;
        Ok(Self { out_features, in_features, weight: upload()?, bias })
    }

    /// The width of the output.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// The width of the input.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.in_features
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

    /// Whether the input and the output may be in f16.
    pub(crate) fn accepts_f16_input(&self) -> bool {
        self.rows().is_some_and(RowWeight::is_f16)
    }

    /// The shape of the output, if the input and the residual fit.
    pub(super) fn output_shape(&self, input: &Tensor, residual: Option<&Tensor>) -> Result<Vec<usize>> {
        if input.columns() != self.in_features {
            return shape_error("linear", format!("{input:?} into a layer of {} inputs", self.in_features));
        }
        let mut shape = input.shape().to_vec();
        shape.pop();
        shape.push(self.out_features);
        if let Some(residual) = residual {
            expect_shape("linear", "the residual", residual, &shape)?;
        }
        Ok(shape)
    }
}

impl Recorder {
    /// `input [.., in_features] · weightᵀ + bias`, `[.., out_features]`.
    ///
    /// # Errors
    /// As [`linear_with`](Self::linear_with).
    pub fn linear(&mut self, input: &Tensor, layer: &Linear) -> Result<Tensor> {
        self.linear_with(input, layer, Activation::None, None)
    }

    /// `activation(input [.., in_features] · weightᵀ + bias) + residual [.., out_features]`, in one pass over
    /// memory.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit, or the rows exceed
    /// [`Device::row_limit`].
    pub fn linear_with(
        &mut self,
        input: &Tensor,
        layer: &Linear,
        activation: Activation,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        self.linear_as(DType::F32, input, layer, activation, residual)
    }

    /// As [`linear_with`](Self::linear_with), stored as `dtype`; the input may be in f16, the residual may
    /// not.
    ///
    /// # Errors
    /// As [`linear_with`](Self::linear_with), and when either is in f16 but the weight is not, or lies as the
    /// subgroup kernels want it.
    pub fn linear_as(
        &mut self,
        dtype: DType,
        input: &Tensor,
        layer: &Linear,
        activation: Activation,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        expect_floats("linear", dtype)?;
        let shape = layer.output_shape(input, residual)?;
        match &layer.weight {
            Weight::Rows(weight) => {
                let operands =
                    Operands { input, weight, bias: layer.bias(), residual, activation, output: dtype };
                self.weight_product(&operands, &shape)
            }
            Weight::Panels(_) if [input.dtype(), dtype].contains(&DType::F16) => {
                shape_error("linear", format!("{input:?} to {dtype:?}: textures hold no f16"))
            }
            Weight::Panels(weight) => self.matmul_subgroup(input, layer, weight, 1, activation, residual),
        }
    }

    /// `groups` times [`linear`](Self::linear) of inputs that lie side by side in each row:
    /// `[rows, groups · in_features]` to `[rows, groups · out_features]`. More than one have to be whole
    /// texels, both in the input and in the output.
    pub(super) fn linear_in_groups(
        &mut self,
        input: &Tensor,
        layer: &Linear,
        weight: &Panels,
        groups: usize,
    ) -> Result<Tensor> {
        if input.columns() != groups * layer.in_features {
            return shape_error(
                "linear",
                format!("{input:?} into {groups} times {} inputs", layer.in_features),
            );
        }
        debug_assert!(
            groups == 1 || [layer.in_features, layer.out_features].iter().all(|size| size.is_multiple_of(4))
        );
        self.matmul_subgroup(input, layer, weight, groups, Activation::None, None)
    }

    fn matmul_subgroup(
        &mut self,
        input: &Tensor,
        layer: &Linear,
        weight: &Panels,
        groups: usize,
        activation: Activation,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let mut shape = input.shape().to_vec();
        shape.pop();
        shape.push(groups * layer.out_features);
        let output = self.allocate_texture(&shape)?;
        let column_texels = layer.out_features.div_ceil(4) as u32;
        let inner_texels = layer.in_features.div_ceil(4) as u32;
        let resources = vec![
            self.texture(input)?,
            weight.resource(self.device())?,
            self.buffer_or_empty(layer.bias.as_ref())?,
            self.texture_or_empty(residual)?,
            self.texture(&output)?,
        ];
        // Drivers take half a second to translate this kernel. So products without an activation or with ReLU
        // share the one that is compiled for CLIP's own activation.
        let compiled = match activation {
            Activation::None | Activation::Relu => Activation::QuickGelu,
            other => other,
        };
        let overrides =
            matmul_subgroup::Overrides { activation: compiled as u32, lanes: weight.lanes }.values();
        let has_bias = layer.bias.is_some().into();
        let has_residual = residual.is_some().into();
        let flops = groups as u64 * product_flops(input.rows(), layer.in_features, layer.out_features);
        // Both take the same parameters, which a test in the shader crate sees to.
        let rows = input.rows() as u32;
        let params = matmul_subgroup::Params {
            rows,
            column_texels,
            inner_texels,
            has_bias,
            has_residual,
            activation: activation as u32,
        };
        let kernel =
            if weight.is_f16 { &matmul_subgroup_packed_f16::KERNEL } else { &matmul_subgroup::KERNEL };
        let panels = layer.out_features.div_ceil(panel_columns(weight.lanes));
        let grid = [input.rows().div_ceil(PRODUCT_ROWS) as u32, panels as u32, groups as u32];
        self.dispatch(kernel, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }
}
