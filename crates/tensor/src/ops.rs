//! The ops, as methods of [`Recorder`](crate::Recorder).

mod activation_dtype;
mod algebra;
mod attention;
#[cfg_attr(target_family = "wasm", path = "ops/choice_absent.rs")]
mod choice;
mod convolution;
mod elementwise;
mod embedding;
mod guided;
mod layer_norm;
mod linear;
mod matmul;
mod mlp;
mod panels;
mod resample;
mod softmax;
mod transposed_convolution;

pub(crate) use attention::heads_fit_vectors;
pub use attention::{AttentionMask, Packing, SharedRows};
pub use convolution::Convolution3x3;
pub use elementwise::Modulation;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub(crate) use matmul::is_product;
pub use mlp::Mlp;
pub(crate) use panels::unpack as unpack_panels;
pub use transposed_convolution::{TransposedConvolution, UpsampleInput};

use clipseg_shaders::Kernel;

use crate::step::Resource;
use crate::tensor::DType;
use crate::{Device, Error, Result, Tensor};

/// Fails with `op`'s name unless `tensor` has `shape`.
fn expect_shape(op: &'static str, name: &str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    if tensor.shape() == shape {
        return Ok(());
    }
    Err(Error::Shape { op, reason: format!("{name} is {:?}, expected {shape:?}", tensor.shape()) })
}

/// The fewest and the most lanes of the kernels that take subgroups of any size: quads are four lanes, and
/// WebGPU has no subgroups of more than 128.
const ANY_LANES: [u32; 2] = [4, 128];

/// Whether a kernel with subgroup operations runs on `device`, where it takes subgroups of so many lanes,
/// from the fewest to the most. Its workgroups may be larger than the engine asks of every device.
fn has_subgroups_of(device: &Device, kernel: &Kernel, lanes: [u32; 2]) -> bool {
    let limits = device.limits();
    device.has(wgpu::Features::SUBGROUP)
        && all_fit(device.info(), lanes)
        && kernel.workgroup_size[0] <= limits.max_compute_workgroup_size_x
        && kernel.workgroup_size.iter().product::<u32>() <= limits.max_compute_invocations_per_workgroup
}

/// Whether all subgroups that an adapter may make have `fewest` to `most` lanes.
fn all_fit(info: &wgpu::AdapterInfo, [fewest, most]: [u32; 2]) -> bool {
    info.subgroup_min_size >= fewest && info.subgroup_max_size <= most
}

fn shape_error<T>(op: &'static str, reason: String) -> Result<T> {
    Err(Error::Shape { op, reason })
}

impl crate::Recorder {
    pub(crate) fn buffer(&mut self, tensor: &Tensor) -> Result<Resource> {
        let buffer = self.buffer_of(tensor)?;
        let is_f16 = tensor.dtype() == DType::F16;
        Ok(Resource { is_f16, ..Resource::buffer(buffer, tensor.bytes()) })
    }

    fn texture(&mut self, tensor: &Tensor) -> Result<Resource> {
        self.texture_of(tensor).map(|texture| Resource::texture(texture, tensor.bytes()))
    }

    fn buffer_or_empty(&mut self, tensor: Option<&Tensor>) -> Result<Resource> {
        match tensor {
            Some(tensor) => self.buffer(tensor),
            None => Ok(Resource::buffer(self.device().empty_buffer(), 0)),
        }
    }

    fn texture_or_empty(&mut self, tensor: Option<&Tensor>) -> Result<Resource> {
        match tensor {
            Some(tensor) => self.texture(tensor),
            None => Ok(Resource::texture(self.device().gpu()?.empty_texture.clone(), 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_runs_where_it_takes_every_size_that_the_adapter_may_choose() {
        let fits = |min: u32, max: u32, lanes| {
            let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::Noop);
            let sizes = wgpu::AdapterInfo { subgroup_min_size: min, subgroup_max_size: max, ..info };
            all_fit(&sizes, lanes)
        };
        // As wgpu has it of NVIDIA, AMD, Intel and Metal.
        for [min, max] in [[32, 32], [32, 64], [8, 32], [4, 64]] {
            assert!(fits(min, max, ANY_LANES) && fits(min, max, [2, 64]), "{min} to {max}");
        }
        // Adreno; a driver whose subgroups have no quads.
        assert!(fits(64, 128, ANY_LANES) && !fits(64, 128, [2, 64]));
        assert!(!fits(2, 32, ANY_LANES) && !fits(1, 32, [2, 64]));
    }
}
