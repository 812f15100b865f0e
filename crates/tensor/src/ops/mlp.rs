use clipseg_shaders::{Activation, kernels};

use super::panels::Panels;
use super::shape_error;
use crate::cost::product_flops;
use crate::{Device, Linear, Recorder, Result, Tensor};

/// What the fused kernel's lanes can hold of a row.
const FUSED_MAX_WIDTH: usize = 4 * kernels::mlp_subgroup::MAX_COLUMN_TEXELS as usize;

/// The two linear layers of a transformer block, with an activation between them.
pub struct Mlp {
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Mlp {
    /// Joins two layers: `up` is `[hidden, width]`, `down` `[width, hidden]`, both with a bias.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the one's output is not the other's input.
    pub fn new(up: Linear, down: Linear, activation: Activation) -> Result<Self> {
        if up.out_features() != down.in_features() {
            let reason =
                format!("{} hidden values into a layer of {} inputs", up.out_features(), down.in_features());
            return shape_error("mlp", reason);
        }
        Ok(Self { up, down, activation })
    }

    /// Whether the input may be in f16.
    pub(crate) fn accepts_f16_input(&self) -> bool {
        self.up.accepts_f16_input()
    }

    /// The weights of both layers, where one kernel can do the whole: it is made for inputs of which a row
    /// fits between the lanes but leaves few of them idle.
    fn fused_weights(&self, device: &Device) -> Option<[&Panels; 2]> {
        let fits = |width| (FUSED_MAX_WIDTH / 2 + 1..=FUSED_MAX_WIDTH).contains(&width);
        let fused = device.lanes().is_some()
            && self.up.in_features() == self.down.out_features()
            && fits(self.up.in_features())
            && self.up.bias().is_some()
            && self.down.bias().is_some();
        if !fused {
            return None;
        }
        let (up, down) = (self.up.panels()?, self.down.panels()?);
        (up.is_f16 == down.is_f16).then_some([up, down])
    }
}

impl Recorder {
    /// `down(activation(up(input))) + residual`, `[.., columns]`.
    ///
    /// # Errors
    /// As [`linear_with`](Self::linear_with).
    pub fn mlp(&mut self, input: &Tensor, layers: &Mlp, residual: &Tensor) -> Result<Tensor> {
        // The one kernel adds its own input, as the decoder's layers do.
        let fused = layers.fused_weights(self.device()).filter(|_| residual.is(input));
        let Some([up, down]) = fused else {
            let between =
                self.dtype_between([layers.up.accepts_f16_input(), layers.down.accepts_f16_input()]);
            let hidden = self.linear_as(between, input, &layers.up, layers.activation, None)?;
            return self.linear_with(&hidden, &layers.down, Activation::None, Some(residual));
        };
        if input.columns() != layers.up.in_features() {
            return shape_error(
                "mlp",
                format!("{input:?} into a layer of {} inputs", layers.up.in_features()),
            );
        }
        let output = self.allocate_texture(input.shape())?;
        let params = kernels::mlp_subgroup::Params {
            rows: input.rows() as u32,
            column_texels: layers.down.out_features().div_ceil(4) as u32,
            hidden_texels: layers.up.out_features().div_ceil(4) as u32,
        };
        let resources = vec![
            self.texture(input)?,
            up.resource(self.device())?,
            self.buffer_or_empty(layers.up.bias())?,
            down.resource(self.device())?,
            self.buffer_or_empty(layers.down.bias())?,
            self.texture(&output)?,
        ];
        let activation = layers.activation as u32;
        let overrides = kernels::mlp_subgroup::Overrides { activation, lanes: up.lanes }.values();
        let grid = [input.rows().div_ceil(kernels::mlp_subgroup::ROWS as usize) as u32, 1, 1];
        let flops = [&layers.up, &layers.down]
            .map(|layer| product_flops(input.rows(), layer.in_features(), layer.out_features()))
            .iter()
            .sum();
        // Both take the same parameters, which a test in the shader crate sees to.
        let kernel = if up.is_f16 {
            &kernels::mlp_subgroup_packed_f16::KERNEL
        } else {
            &kernels::mlp_subgroup::KERNEL
        };
        self.dispatch(kernel, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }
}
