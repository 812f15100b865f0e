//! Softmax: its kernels as rows of one table, and which of them serves a call.

#[cfg(not(target_family = "wasm"))]
mod measure;

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{softmax, softmax_lanes};

use super::{ANY_LANES, has_subgroups_of, shape_error};
use crate::tensor::DType;
use crate::{Device, Recorder, Result, Tensor};

/// What a softmax is asked for.
#[derive(Clone, Copy)]
struct Call<'a> {
    input: &'a Tensor,
}

/// A kernel for softmax. Both take the same parameters and resources, which a test in the shader crate holds
/// together.
#[derive(Debug)]
struct Variant {
    kernel: &'static Kernel,
    /// Rows of a workgroup.
    rows: u32,
}

/// Any adapter.
static PLAIN: Variant = Variant { kernel: &softmax::KERNEL, rows: 1 };
static LANES: Variant = Variant { kernel: &softmax_lanes::KERNEL, rows: softmax_lanes::ROWS };

static VARIANTS: [&Variant; 2] = [&PLAIN, &LANES];

impl Variant {
    /// Whether it can run on `device`.
    fn runs(&self, device: &Device) -> bool {
        !self.kernel.uses_subgroups || has_subgroups_of(device, self.kernel, ANY_LANES)
    }
}

/// The variants that a device runs, the default first: on GPUs the plain one, as the other has run on none.
/// On software adapters, where barriers are slow, it is the one without barriers, which Mesa 22.3, 25.0 and
/// 26.2 run 1.5 to 25 times as fast.
fn candidates(device: &Device) -> Vec<&'static Variant> {
    let mut variants: Vec<_> = VARIANTS.into_iter().filter(|variant| variant.runs(device)).collect();
    if device.info().device_type == wgpu::DeviceType::Cpu {
        variants.sort_by_key(|variant| !variant.kernel.uses_subgroups);
    }
    variants
}

impl Recorder {
    /// `exp(input) / Σ exp(input)` over the last dimension.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) beyond the adapter's limits.
    pub fn softmax(&mut self, input: &Tensor) -> Result<Tensor> {
        let call = Call { input };
        let variant = self.choose(&call, &candidates(self.device())).unwrap_or(&PLAIN);
        self.softmax_with(variant, &call)
    }

    /// The kernels that can compute [`softmax`](Self::softmax); the one that it takes without tuning first.
    #[must_use]
    pub fn softmax_kernels(&self) -> Vec<&'static str> {
        candidates(self.device()).into_iter().map(|variant| variant.kernel.name).collect()
    }

    /// As [`softmax`](Self::softmax), by one of its [`softmax_kernels`](Self::softmax_kernels): for tests and
    /// benchmarks.
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax), and [`Error::Shape`](crate::Error::Shape) when the device does not run
    /// the kernel.
    pub fn softmax_by(&mut self, kernel: &str, input: &Tensor) -> Result<Tensor> {
        let candidates = candidates(self.device());
        match candidates.into_iter().find(|variant| variant.kernel.name == kernel) {
            Some(variant) => self.softmax_with(variant, &Call { input }),
            None => shape_error("softmax", format!("{kernel} does not take {input:?} here")),
        }
    }

    /// Softmax with a variant that the device runs.
    fn softmax_with(&mut self, variant: &Variant, call: &Call<'_>) -> Result<Tensor> {
        let Call { input } = *call;
        let output = self.allocate(input.shape(), DType::F32)?;
        let params = softmax::Params { rows: input.rows() as u32, columns: input.columns() as u32 };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        let grid = self.folded_grid(input.rows().div_ceil(variant.rows as usize));
        // The largest, difference, exponential, sum, quotient.
        let flops = 5 * input.len() as u64;
        self.dispatch(variant.kernel, &[], params, resources, grid, flops)?;
        Ok(output)
    }
}
