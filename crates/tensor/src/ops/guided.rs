use clipseg_shaders::kernels;

use super::{expect_shape, shape_error};
use crate::tensor::DType;
use crate::{Recorder, Result, Tensor};

impl Recorder {
    /// The linear models that tell a map's probabilities from a guide's colours, averaged over the windows
    /// that a pixel lies in: `[4, height, width]`, three weights and a constant, from logits
    /// `[height, width]` and a guide `[3, height, width]` with values of at most about 1. Windows reach
    /// `radius` pixels to each side; colours whose variance in a window is well below `epsilon` tell nothing.
    /// [`guided_apply`](Self::guided_apply) makes logits of them.
    ///
    /// He, Sun and Tang, "Guided image filtering" (2013); resized in between, the two are He and Sun's "Fast
    /// guided filter" (2015).
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the guide is of another size.
    pub fn guided_coefficients(
        &mut self,
        guide: &Tensor,
        logits: &Tensor,
        radius: usize,
        epsilon: f32,
    ) -> Result<Tensor> {
        let &[height, width] = logits.shape() else {
            return shape_error("guided_coefficients", format!("{logits:?}, expected [height, width]"));
        };
        expect_shape("guided_coefficients", "the guide", guide, &[3, height, width])?;
        let pixels = (height * width) as u32;
        let moments = self.allocate(&[13, height, width], DType::F32)?;
        let resources = vec![self.buffer(guide)?, self.buffer(logits)?, self.buffer(&moments)?];
        let params = kernels::guided_moments::Params { pixels };
        // A sigmoid, six products of colours and three of a colour with the probability.
        let flops = 13 * u64::from(pixels);
        self.dispatch_1d(&kernels::guided_moments::KERNEL, &[], params, resources, height * width, flops)?;
        let means = self.box_mean(moments, radius)?;
        let coefficients = self.allocate(&[4, height, width], DType::F32)?;
        let resources = vec![self.buffer(&means)?, self.buffer(&coefficients)?];
        let params = kernels::guided_coefficients::Params { pixels, epsilon };
        // Counted in the kernel: three equations with three unknowns.
        let flops = 60 * u64::from(pixels);
        self.dispatch_1d(
            &kernels::guided_coefficients::KERNEL,
            &[],
            params,
            resources,
            height * width,
            flops,
        )?;
        drop(means);
        self.box_mean(coefficients, radius)
    }

    /// Each map of `[maps, height, width]` through a box filter whose windows end where the map does.
    fn box_mean(&mut self, maps: Tensor, radius: usize) -> Result<Tensor> {
        let &[count, height, width] = maps.shape() else {
            return shape_error("box_mean", format!("{maps:?}, expected [maps, height, width]"));
        };
        let mut maps = maps;
        for (outer, length, inner) in [(count * height, width, 1), (count, height, width)] {
            let output = self.allocate(maps.shape(), DType::F32)?;
            let params = kernels::box_mean::Params {
                outer: outer as u32,
                length: length as u32,
                inner: inner as u32,
                radius: radius.min(length) as u32,
            };
            let resources = vec![self.buffer(&maps)?, self.buffer(&output)?];
            // A running sum would do: one value comes, one goes, and the quotient.
            let flops = 3 * output.len() as u64;
            self.dispatch_1d(&kernels::box_mean::KERNEL, &[], params, resources, maps.len(), flops)?;
            maps = output;
        }
        Ok(maps)
    }

    /// The logits `[height, width]` that coefficients `[4, height, width]` tell from a guide
    /// `[3, height, width]`; their probabilities lie within 0.0001..=0.9999.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit.
    pub fn guided_apply(&mut self, coefficients: &Tensor, guide: &Tensor) -> Result<Tensor> {
        let &[3, height, width] = guide.shape() else {
            return shape_error("guided_apply", format!("{guide:?}, expected [3, height, width]"));
        };
        expect_shape("guided_apply", "the coefficients", coefficients, &[4, height, width])?;
        let output = self.allocate(&[height, width], DType::F32)?;
        let params = kernels::guided_apply::Params { pixels: (height * width) as u32 };
        let resources = vec![self.buffer(coefficients)?, self.buffer(guide)?, self.buffer(&output)?];
        // Three products and sums, two bounds, and the logit's difference, quotient and logarithm.
        let flops = 11 * output.len() as u64;
        self.dispatch_1d(&kernels::guided_apply::KERNEL, &[], params, resources, output.len(), flops)?;
        Ok(output)
    }
}
