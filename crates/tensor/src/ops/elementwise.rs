use clipseg_shaders::{Activation, kernels};

use super::{expect_shape, shape_error};
use crate::tensor::DType;
use crate::{Recorder, Result, Tensor};

/// The scale and the shift that a condition gives each channel, `[pairs, columns]` both.
#[derive(Clone, Copy)]
pub struct Modulation<'a> {
    /// Multiplies.
    pub gamma: &'a Tensor,
    /// Is added.
    pub beta: &'a Tensor,
}

impl Recorder {
    /// `activation(input)`, element by element. Where a linear layer comes before it,
    /// [`linear_with`](Self::linear_with) does both.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) beyond the adapter's limits.
    pub fn activation(&mut self, input: &Tensor, activation: Activation) -> Result<Tensor> {
        let output = self.allocate(input.shape(), DType::F32)?;
        let params = kernels::activation::Params { length: input.len() as u32 };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        let overrides = kernels::activation::Overrides { activation: activation as u32 }.values();
        // quick_gelu's: product, exponential, sum, quotient.
        let flops = 4 * output.len() as u64;
        self.dispatch_1d(&kernels::activation::KERNEL, &overrides, params, resources, input.len(), flops)?;
        Ok(output)
    }

    /// `1 / (1 + exp(-input))`, element by element.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) beyond the adapter's limits.
    pub fn sigmoid(&mut self, input: &Tensor) -> Result<Tensor> {
        let output = self.allocate(input.shape(), DType::F32)?;
        let params = kernels::sigmoid::Params { length: input.len() as u32 };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        // Sign, exponential, sum, quotient.
        let flops = 4 * output.len() as u64;
        self.dispatch_1d(&kernels::sigmoid::KERNEL, &[], params, resources, input.len(), flops)?;
        Ok(output)
    }

    /// `sum = reduced + previous`, then `gamma · sum + beta` where there is a modulation (FiLM, Perez et al.
    /// 2018).
    ///
    /// `reduced` is `[scenes, tokens, columns]` with one scene for all pairs or one each; `previous` and the
    /// output are `[pairs, tokens, columns]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit.
    pub fn film(
        &mut self,
        pairs: usize,
        reduced: &Tensor,
        previous: Option<&Tensor>,
        modulation: Option<Modulation<'_>>,
    ) -> Result<Tensor> {
        let &[scenes, tokens, columns] = reduced.shape() else {
            return shape_error("film", format!("{reduced:?}, expected [scenes, tokens, columns]"));
        };
        if scenes != 1 && scenes != pairs {
            return shape_error(
                "film",
                format!("{pairs} pairs on {scenes} scenes; expected one scene, or as many"),
            );
        }
        let shape = [pairs, tokens, columns];
        if let Some(previous) = previous {
            expect_shape("film", "the step before", previous, &shape)?;
        }
        if let Some(modulation) = modulation {
            expect_shape("film", "the gamma", modulation.gamma, &[pairs, columns])?;
            expect_shape("film", "the beta", modulation.beta, &[pairs, columns])?;
        }
        let per_value = u64::from(previous.is_some()) + 2 * u64::from(modulation.is_some());
        let flops = per_value * DType::F32.bytes_of("film", &shape)? / 4;
        if let Some(lanes) = self.device().lanes() {
            return self.film_subgroup(reduced, previous, modulation, shape, lanes, flops);
        }
        let output = self.allocate(&shape, DType::F32)?;
        let params = kernels::film::Params {
            pairs: pairs as u32,
            scenes: scenes as u32,
            tokens: tokens as u32,
            columns: columns as u32,
            has_previous: previous.is_some().into(),
            conditioned: modulation.is_some().into(),
        };
        let resources = vec![
            self.buffer(reduced)?,
            self.buffer_or_empty(previous)?,
            self.buffer_or_empty(modulation.map(|modulation| modulation.gamma))?,
            self.buffer_or_empty(modulation.map(|modulation| modulation.beta))?,
            self.buffer(&output)?,
        ];
        self.dispatch_1d(&kernels::film::KERNEL, &[], params, resources, output.len(), flops)?;
        Ok(output)
    }

    fn film_subgroup(
        &mut self,
        reduced: &Tensor,
        previous: Option<&Tensor>,
        modulation: Option<Modulation<'_>>,
        [pairs, tokens, columns]: [usize; 3],
        lanes: u32,
        flops: u64,
    ) -> Result<Tensor> {
        let output = self.allocate_texture(&[pairs, tokens, columns])?;
        let params = kernels::film_subgroup::Params {
            pairs: pairs as u32,
            scenes: reduced.shape()[0] as u32,
            tokens: tokens as u32,
            column_texels: columns.div_ceil(4) as u32,
            has_previous: previous.is_some().into(),
            conditioned: modulation.is_some().into(),
        };
        let resources = vec![
            self.texture(reduced)?,
            self.texture_or_empty(previous)?,
            self.texture_or_empty(modulation.map(|modulation| modulation.gamma))?,
            self.texture_or_empty(modulation.map(|modulation| modulation.beta))?,
            self.texture(&output)?,
        ];
        let overrides = kernels::film_subgroup::Overrides { lanes }.values();
        let grid = [params.tokens.div_ceil(kernels::film_subgroup::ROWS), params.pairs, 1];
        self.dispatch(&kernels::film_subgroup::KERNEL, &overrides, params, resources, grid, flops)?;
        Ok(output)
    }
}
