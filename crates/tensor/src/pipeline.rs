//! Compute pipelines: asked for while a recording is made, compiled together when it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use clipseg_shaders::Kernel;

#[cfg(not(target_family = "wasm"))]
use crate::pacer::Pace;
#[cfg(not(target_family = "wasm"))]
use crate::pipeline_file::OpenStore;
use crate::{Device, Result};

/// A kernel with values for its overrides, shared by all dispatches that need it.
pub(crate) struct Pipeline {
    pub kernel: &'static Kernel,
    overrides: Vec<(&'static str, u32)>,
    compiled: OnceLock<wgpu::ComputePipeline>,
    /// Locked by the thread that compiles the pipeline. Others wait, so that none is compiled twice.
    compiling: Mutex<()>,
    /// How fast it is.
    #[cfg(not(target_family = "wasm"))]
    pub pace: Pace,
}

impl Pipeline {
    /// The values of the kernel's overrides.
    pub fn overrides(&self) -> &[(&'static str, u32)] {
        &self.overrides
    }

    /// The pipeline, compiled by the first call.
    ///
    /// # Errors
    /// The device's, for example of a faulty kernel. The next call tries again: memory may have been short.
    pub fn get(&self, device: &Device) -> Result<&wgpu::ComputePipeline> {
        if let Some(compiled) = self.compiled.get() {
            return Ok(compiled);
        }
        let _first = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = self.compiled.get() {
            return Ok(compiled);
        }
        let compiled = device.guard(|| device.pipelines().compile(device, self))?;
        Ok(self.compiled.get_or_init(|| compiled))
    }
}

type Overrides = Vec<(&'static str, u32)>;

/// The pipelines that recordings on a device have asked for.
pub(crate) struct PipelineCache {
    runtime_checks: bool,
    pipelines: Mutex<HashMap<(&'static str, Overrides), Arc<Pipeline>>>,
    /// The driver's cache, kept from one process to the next.
    #[cfg(not(target_family = "wasm"))]
    store: Option<OpenStore>,
}

impl PipelineCache {
    pub fn new(runtime_checks: bool, #[cfg(not(target_family = "wasm"))] store: Option<OpenStore>) -> Self {
        Self {
            runtime_checks,
            pipelines: Mutex::default(),
            #[cfg(not(target_family = "wasm"))]
            store,
        }
    }

    /// The one pipeline of `kernel` with `overrides`, compiled or not.
    pub fn find(&self, kernel: &'static Kernel, overrides: &[(&'static str, u32)]) -> Arc<Pipeline> {
        let overrides = overrides.to_vec();
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let pipeline = pipelines.entry((kernel.name, overrides.clone())).or_insert_with(|| {
            Arc::new(Pipeline {
                kernel,
                overrides,
                compiled: OnceLock::new(),
                compiling: Mutex::default(),
                #[cfg(not(target_family = "wasm"))]
                pace: Pace::default(),
            })
        });
        Arc::clone(pipeline)
    }

    /// Compiles those of `pipelines` that are not compiled yet, on as many threads as the machine runs at
    /// once, then saves the driver's cache. A driver such as llvmpipe, which translates a kernel only when it
    /// first runs, gains little by this. A browser has no threads to give, so there each pipeline is compiled
    /// by its first [`Pipeline::get`].
    #[cfg(not(target_family = "wasm"))]
    pub fn compile_all<'a>(&self, device: &Device, pipelines: impl Iterator<Item = &'a Pipeline>) {
        use std::num::NonZero;
        use std::sync::atomic::{AtomicUsize, Ordering};
        use std::thread;

        let mut missing: Vec<&Pipeline> = Vec::new();
        for pipeline in pipelines.filter(|pipeline| pipeline.compiled.get().is_none()) {
            // Without duplicates: two threads would block on the same pipeline.
            if !missing.iter().any(|other| std::ptr::eq(*other, pipeline)) {
                missing.push(pipeline);
            }
        }
        if missing.is_empty() {
            return;
        }
        let next = AtomicUsize::new(0);
        let compile = || {
            while let Some(pipeline) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Ignore the error: whoever needs the pipeline gets it from `get`.
                let _ = pipeline.get(device);
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(missing.len());
        thread::scope(|scope| {
            for _ in 1..threads {
                // Where the system gives no thread, this one does all of it.
                let _ = thread::Builder::new().spawn_scoped(scope, compile);
            }
            compile();
        });
        if let Some(store) = &self.store {
            store.save();
        }
    }

    fn compile(&self, device: &Device, pipeline: &Pipeline) -> Result<wgpu::ComputePipeline> {
        let Pipeline { kernel, overrides, .. } = pipeline;
        let gpu = &device.gpu()?.device;
        device.count_created();
        // The module is made anew for each set of overrides: parsing a kernel takes less than a millisecond.
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(kernel.name),
            source: wgpu::ShaderSource::Wgsl(kernel.source.into()),
        };
        let mut checks = wgpu::ShaderRuntimeChecks::unchecked();
        checks.bounds_checks = self.runtime_checks;
        checks.int_div_checks = self.runtime_checks;
        // SAFETY: the kernels are this project's own. Each guards its loads and stores by the sizes in its
        // parameters, which come from the tensors that are bound, and clamps the indices that it reads from a
        // buffer; its divisors are not zero. The property tests compare each with its twin on ragged shapes.
        // Running with the checks on proves nothing by itself: they clamp an access out of bounds without
        // reporting it, so only a number that differs shows it. Every loop counts up to a bound. The guard
        // against endless loops stays off even with the checks on, as it hides the constant bounds that
        // compilers unroll by.
        let module = unsafe { gpu.create_shader_module_trusted(descriptor, checks) };
        let constants: Vec<_> = overrides.iter().map(|&(name, value)| (name, f64::from(value))).collect();
        #[cfg(not(target_family = "wasm"))]
        let cache = self.store.as_ref().map(OpenStore::cache);
        #[cfg(target_family = "wasm")]
        let cache = None;
        Ok(gpu.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: None,
            module: &module,
            entry_point: Some(kernel.entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache,
        }))
    }
}

#[cfg(test)]
mod tests {
    use clipseg_shaders::kernels::sigmoid;

    use super::*;
    use crate::step::Resource;
    use crate::{AdapterChoice, DeviceOptions, Error, Recorder};

    static FAULTY: Kernel = Kernel { name: "faulty", source: "fn main() { return 1; }", ..sigmoid::KERNEL };

    fn record(device: &Device, kernel: &'static Kernel) -> Result<()> {
        let mut recorder = Recorder::new(device);
        let tensors = [recorder.input(&[4])?, recorder.input(&[4])?];
        let mut resources = Vec::new();
        for tensor in &tensors {
            resources.push(Resource::buffer(recorder.buffer_of(tensor)?, tensor.bytes()));
        }
        recorder.dispatch(kernel, &[], sigmoid::Params { length: 4 }, resources, [1; 3], 0)?;
        recorder.finish().map(|_| ())
    }

    #[test]
    fn a_kernel_that_does_not_compile_fails_every_recording_that_needs_it() {
        let options = DeviceOptions { adapter: AdapterChoice::Driver, ..DeviceOptions::default() };
        let device = Device::open(&options).expect("this test needs an adapter");
        for _ in 0..2 {
            assert!(matches!(record(&device, &FAULTY), Err(Error::Device(_))));
        }
        record(&device, &sigmoid::KERNEL).unwrap();
    }
}
