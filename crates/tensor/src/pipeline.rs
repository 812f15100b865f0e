use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use clipseg_shaders::Kernel;

use crate::Device;

/// A kernel with values for its overrides: one compiled pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PipelineKey {
    kernel: &'static str,
    overrides: Vec<(&'static str, u32)>,
}

/// The compiled pipelines of a device, each made when first asked for.
pub(crate) struct PipelineCache {
    runtime_checks: bool,
    pipelines: Mutex<HashMap<PipelineKey, wgpu::ComputePipeline>>,
}

impl PipelineCache {
    pub fn new(runtime_checks: bool) -> Self {
        Self { runtime_checks, pipelines: Mutex::default() }
    }

    pub fn get(
        &self,
        device: &Device,
        kernel: &'static Kernel,
        overrides: &[(&'static str, u32)],
    ) -> wgpu::ComputePipeline {
        let key = PipelineKey { kernel: kernel.name, overrides: overrides.to_vec() };
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        pipelines.entry(key).or_insert_with(|| self.compile(device, kernel, overrides)).clone()
    }

    fn compile(
        &self,
        device: &Device,
        kernel: &'static Kernel,
        overrides: &[(&'static str, u32)],
    ) -> wgpu::ComputePipeline {
        let gpu = device.gpu();
        device.count_created();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name),
            source: wgpu::ShaderSource::Wgsl(kernel.source.into()),
        };
        let mut checks = wgpu::ShaderRuntimeChecks::unchecked();
        checks.bounds_checks = self.runtime_checks;
        checks.int_div_checks = self.runtime_checks;
        // SAFETY: the kernels are this project's own. Each guards its loads and stores by the sizes in its parameters and its
        // divisors are not zero, which the property tests prove with these checks on. Every loop counts up to a bound; the
        // guard against endless ones stays off even then, as it hides the constant bounds that compilers unroll by.
        let module = unsafe { gpu.create_shader_module_trusted(descriptor, checks) };
        let constants: Vec<_> = overrides.iter().map(|&(name, value)| (name, f64::from(value))).collect();
        gpu.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: None,
            module: &module,
            entry_point: Some(kernel.entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        })
    }
}
