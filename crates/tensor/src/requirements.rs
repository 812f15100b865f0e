//! What the engine needs of a device that a host opens, and what it makes use of.

use std::fmt;

use crate::{Error, Result};

/// The lowest limits with which a device can run the kernels. They are never above WebGPU's defaults, so
/// `wgpu::Limits::default()` is enough, and every WebGPU adapter offers them. A host whose own limits are
/// lower takes `limits.or_better_values_from(&minimum_limits())`.
///
/// The sizes of buffers and bindings are those that CLIPSeg's published size needs. A device has smaller ones
/// only if it was not asked for these; [`Device::from_wgpu`](crate::Device::from_wgpu) refuses such a device.
#[must_use]
pub fn minimum_limits() -> wgpu::Limits {
    let default = wgpu::Limits::default();
    wgpu::Limits {
        max_bind_groups: 1,
        max_bindings_per_bind_group: 8,
        max_uniform_buffers_per_shader_stage: 1,
        max_uniform_buffer_binding_size: 256,
        // `film` and the products of matrices: two operands, bias, residual and output.
        max_storage_buffers_per_shader_stage: 5,
        max_storage_buffer_binding_size: default.max_storage_buffer_binding_size,
        max_buffer_size: default.max_buffer_size,
        max_compute_workgroup_storage_size: default.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: default.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: 128,
        max_compute_workgroup_size_y: 16,
        max_compute_workgroup_size_z: 1,
        max_compute_workgroups_per_dimension: default.max_compute_workgroups_per_dimension,
        ..wgpu::Limits::downlevel_webgl2_defaults()
    }
}

/// The fields of [`minimum_limits`] that the kernels need; the others do not matter here.
const NEEDED: [&str; 13] = [
    "max_bind_groups",
    "max_bindings_per_bind_group",
    "max_uniform_buffers_per_shader_stage",
    "max_uniform_buffer_binding_size",
    "max_storage_buffers_per_shader_stage",
    "max_storage_buffer_binding_size",
    "max_buffer_size",
    "max_compute_workgroup_storage_size",
    "max_compute_invocations_per_workgroup",
    "max_compute_workgroup_size_x",
    "max_compute_workgroup_size_y",
    "max_compute_workgroup_size_z",
    "max_compute_workgroups_per_dimension",
];

/// The limits that a host should ask for so that the engine can do all that it could on a device of its own:
/// [`minimum_limits`], and where `adapter` offers more, larger buffers, bindings, textures and workgroup
/// memory.
#[must_use]
pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    let offered = adapter.limits();
    let least = minimum_limits();
    wgpu::Limits {
        max_texture_dimension_2d: offered.max_texture_dimension_2d,
        max_storage_textures_per_shader_stage: offered.max_storage_textures_per_shader_stage,
        max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
        max_buffer_size: offered.max_buffer_size,
        max_compute_workgroup_storage_size: offered.max_compute_workgroup_storage_size,
        max_compute_workgroups_per_dimension: offered.max_compute_workgroups_per_dimension,
        min_uniform_buffer_offset_alignment: offered.min_uniform_buffer_offset_alignment,
        ..least
    }
}

/// The features of `adapter` that the engine makes use of: subgroups, timestamps for profiles, and pipeline
/// caches. None is required. Matrix units, which are off by default, take `EXPERIMENTAL_COOPERATIVE_MATRIX`,
/// `SHADER_F16` and `SUBGROUP_BARRIER` besides. A host adds them to its own,
/// `mine | required_features(&adapter)`.
#[must_use]
pub fn required_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    adapter.features() & USED
}

/// Optional features, which the engine uses where the adapter has them.
pub(crate) const USED: wgpu::Features =
    wgpu::Features::SUBGROUP.union(wgpu::Features::TIMESTAMP_QUERY).union(wgpu::Features::PIPELINE_CACHE);

/// A limit that a device falls short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitTooSmall {
    /// The field of [`wgpu::Limits`].
    pub name: &'static str,
    /// What the kernels need.
    pub needed: u64,
    /// The limit with which the device was opened.
    pub has: u64,
}

impl fmt::Display for LimitTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} where {} is needed", self.name, self.has, self.needed)
    }
}

/// Refuses a device on which kernels cannot run.
///
/// # Errors
/// [`Error::Limits`] with all that is too small.
pub(crate) fn check(adapter: &wgpu::AdapterInfo, limits: &wgpu::Limits) -> Result<()> {
    let mut missing = Vec::new();
    minimum_limits().check_limits_with_fail_fn(limits, false, |name, needed, has| {
        if NEEDED.contains(&name) {
            missing.push(LimitTooSmall { name, needed, has });
        }
    });
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Limits { adapter: adapter.name.clone(), missing })
}

#[cfg(test)]
mod tests {
    use clipseg_shaders::{BindingKind, kernels};

    use super::*;

    #[test]
    fn defaults_of_webgpu_are_enough_and_nothing_less_than_the_minimum_is() {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::Noop);
        check(&info, &wgpu::Limits::default()).unwrap();
        check(&info, &minimum_limits()).unwrap();
        let small = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..minimum_limits() };
        let Err(Error::Limits { missing, .. }) = check(&info, &small) else { panic!("it is too small") };
        let name = "max_storage_buffers_per_shader_stage";
        assert_eq!(missing, [LimitTooSmall { name, needed: 5, has: 4 }]);
        // One entry for each limit without which no kernel runs.
        let Err(Error::Limits { missing, .. }) = check(&info, &wgpu::Limits::downlevel_webgl2_defaults())
        else {
            panic!("it has no compute shaders")
        };
        assert_eq!(missing.len(), 8, "{missing:?}");
    }

    #[test]
    fn what_does_not_matter_here_is_not_asked_for() {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::Noop);
        let odd = wgpu::Limits { max_vertex_attributes: 0, max_color_attachments: 0, ..minimum_limits() };
        check(&info, &odd).unwrap();
    }

    /// The kernels of the workgroup family, which runs where the others do not.
    #[test]
    fn every_kernel_without_subgroups_fits() {
        let least = minimum_limits();
        for kernel in kernels::ALL.iter().filter(|kernel| !kernel.uses_subgroups) {
            let buffers = kernel.bindings.iter().filter(|binding| {
                matches!(binding.kind, BindingKind::StorageRead | BindingKind::StorageReadWrite)
            });
            assert!(
                buffers.count() <= least.max_storage_buffers_per_shader_stage as usize,
                "{}",
                kernel.name
            );
            assert!(kernel.bindings.len() <= least.max_bindings_per_bind_group as usize, "{}", kernel.name);
            let [x, y, z] = kernel.workgroup_size;
            assert!(x <= least.max_compute_workgroup_size_x, "{}", kernel.name);
            assert!(y <= least.max_compute_workgroup_size_y, "{}", kernel.name);
            assert!(z <= least.max_compute_workgroup_size_z, "{}", kernel.name);
            assert!(x * y * z <= least.max_compute_invocations_per_workgroup, "{}", kernel.name);
        }
    }
}
