use clipseg_shaders::{Activation, kernels};

use super::panels::{Panels, panel_columns};
use super::shape_error;
use crate::cost::product_flops;
use crate::{Device, Linear, Recorder, Result, Tensor};

/// What the fused kernel's lanes can hold of a row.
pub(super) const FUSED_MAX_WIDTH: usize = 4 * kernels::mlp_subgroup::MAX_COLUMN_TEXELS as usize;

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

    /// The two layers, where one kernel can do the whole, with the input added.
    fn fused(&self, device: &Device) -> Option<FusedProducts<'_>> {
        let keeps_width = self.up.in_features() == self.down.out_features();
        FusedProducts::new(device, &self.up, &self.down, 1).filter(|_| keeps_width)
    }
}

/// Two products in a row that one kernel can do.
pub(super) struct FusedProducts<'a> {
    up: &'a Linear,
    down: &'a Linear,
    weights: [&'a Panels; 2],
    /// Groups of columns that lie side by side in the output of `up`, each of which `down` takes to its group
    /// of the output.
    groups: usize,
}

impl<'a> FusedProducts<'a> {
    /// `None` where the one kernel cannot do both, or not well: it is made for inputs and groups of the
    /// output of which a row fits between the lanes but leaves few of them idle.
    pub fn new(device: &Device, up: &'a Linear, down: &'a Linear, groups: usize) -> Option<Self> {
        let lanes = device.lanes()?;
        let fits = |width| (FUSED_MAX_WIDTH / 2 + 1..=FUSED_MAX_WIDTH).contains(&width);
        let fits = fits(up.in_features())
            && fits(down.out_features())
            && up.out_features() == groups * down.in_features()
            && up.bias().is_some()
            && down.bias().is_some()
            // Each group begins with a texel of its own in the output, and with a panel of its own before.
            && (groups == 1
                || (down.out_features().is_multiple_of(4)
                    && down.in_features().is_multiple_of(panel_columns(lanes))));
        let weights = [up.panels()?, down.panels()?];
        (fits && weights[0].is_f16 == weights[1].is_f16).then_some(Self { up, down, weights, groups })
    }
}

impl Recorder {
    /// `down(activation(up(input))) + residual`, `[.., columns]`.
    ///
    /// # Errors
    /// As [`linear_with`](Self::linear_with).
    pub fn mlp(&mut self, input: &Tensor, layers: &Mlp, residual: &Tensor) -> Result<Tensor> {
        // The one kernel adds its own input, as the decoder's layers do.
        match layers.fused(self.device()).filter(|_| residual.is(input)) {
            Some(fused) => self.fused_products(input, &fused, layers.activation, true),
            None => {
                let between =
                    self.dtype_between([layers.up.accepts_f16_input(), layers.down.accepts_f16_input()]);
                let hidden = self.linear_as(between, input, &layers.up, layers.activation, None)?;
                self.linear_with(&hidden, &layers.down, Activation::None, Some(residual))
            }
        }
    }

    /// `down(activation(up(input)))` of each group of columns, plus the input if it `adds_input`,
    /// `[.., groups · columns]`.
    pub(super) fn fused_products(
        &mut self,
        input: &Tensor,
        layers: &FusedProducts<'_>,
        activation: Activation,
        adds_input: bool,
    ) -> Result<Tensor> {
        let FusedProducts { up, down, weights: [up_weight, down_weight], groups } = *layers;
        if input.columns() != up.in_features() {
            return shape_error("mlp", format!("{input:?} into a layer of {} inputs", up.in_features()));
        }
        let mut shape = input.shape().to_vec();
        shape.pop();
        shape.push(groups * down.out_features());
        let output = self.allocate_texture(&shape)?;
        let params = kernels::mlp_subgroup::Params {
            rows: input.rows() as u32,
            inner_texels: up.in_features().div_ceil(4) as u32,
            hidden_texels: down.in_features().div_ceil(4) as u32,
            column_texels: down.out_features().div_ceil(4) as u32,
            adds_input: adds_input.into(),
        };
        let resources = vec![
            self.texture(input)?,
            up_weight.resource(self.device())?,
            self.buffer_or_empty(up.bias())?,
            down_weight.resource(self.device())?,
            self.buffer_or_empty(down.bias())?,
            self.texture(&output)?,
        ];
        let activation = activation as u32;
        let overrides = kernels::mlp_subgroup::Overrides { activation, lanes: up_weight.lanes }.values();
        let workgroups = input.rows().div_ceil(kernels::mlp_subgroup::ROWS as usize);
        let flops = product_flops(input.rows(), up.in_features(), up.out_features())
            + product_flops(groups * input.rows(), down.in_features(), down.out_features());
        // Both take the same parameters, which a test in the shader crate sees to.
        let kernel = if up_weight.is_f16 {
            &kernels::mlp_subgroup_packed_f16::KERNEL
        } else {
            &kernels::mlp_subgroup::KERNEL
        };
        self.dispatch(kernel, &overrides, params, resources, [workgroups as u32, 1, groups as u32], flops)?;
        Ok(output)
    }
}
