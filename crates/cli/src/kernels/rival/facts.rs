//! A device in WebGPU's words, for the conditions of manifests.

use clipseg::wgpu;

use crate::kernels::layout;

/// The device in WebGPU's words.
pub fn facts(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> layout::Device {
    let names = [
        (wgpu::Features::SUBGROUP, "subgroups"),
        (wgpu::Features::SHADER_F16, "shader-f16"),
        (wgpu::Features::TIMESTAMP_QUERY, "timestamp-query"),
    ];
    let has_subgroups = features.contains(wgpu::Features::SUBGROUP);
    // As browsers name the makers whose numbers PCI has.
    let vendor = match info.vendor {
        0x1002 => "amd",
        0x106b => "apple",
        0x10de => "nvidia",
        0x13b5 => "arm",
        0x5143 => "qualcomm",
        0x8086 => "intel",
        _ => "",
    };
    // Browsers allow no more on a side.
    let workgroups = limits.max_compute_workgroups_per_dimension.min(65_535);
    layout::Device {
        features: names
            .into_iter()
            .filter(|(own, _)| features.contains(*own))
            .map(|(_, name)| name)
            .collect(),
        limits: vec![
            ("maxBindGroups", limits.max_bind_groups.into()),
            ("maxBindingsPerBindGroup", limits.max_bindings_per_bind_group.into()),
            ("maxStorageBuffersPerShaderStage", limits.max_storage_buffers_per_shader_stage.into()),
            ("maxUniformBuffersPerShaderStage", limits.max_uniform_buffers_per_shader_stage.into()),
            ("maxUniformBufferBindingSize", limits.max_uniform_buffer_binding_size as f64),
            ("maxStorageBufferBindingSize", limits.max_storage_buffer_binding_size as f64),
            ("maxBufferSize", limits.max_buffer_size as f64),
            ("maxComputeWorkgroupStorageSize", limits.max_compute_workgroup_storage_size.into()),
            ("maxComputeInvocationsPerWorkgroup", limits.max_compute_invocations_per_workgroup.into()),
            ("maxComputeWorkgroupSizeX", limits.max_compute_workgroup_size_x.into()),
            ("maxComputeWorkgroupSizeY", limits.max_compute_workgroup_size_y.into()),
            ("maxComputeWorkgroupSizeZ", limits.max_compute_workgroup_size_z.into()),
            ("maxComputeWorkgroupsPerDimension", workgroups.into()),
        ],
        vendor,
        lanes: has_subgroups.then_some([info.subgroup_min_size, info.subgroup_max_size]),
        is_software: info.device_type == wgpu::DeviceType::Cpu,
    }
}
