//! The kernels with their overrides put in, as a pipeline would.

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::ALL;
use naga::back::{PipelineConstants, pipeline_constants::process_overrides};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};

/// A kernel with one value chosen for each override.
pub struct Variant {
    /// The kernel that it is of.
    pub kernel: &'static Kernel,
    /// The kernel's name and its overrides, for messages.
    pub title: String,
    /// The module, free of overrides.
    pub module: Module,
    /// What validation found.
    pub info: ModuleInfo,
}

/// Every kernel: as it stands, and with every combination of its overrides' legal values.
pub fn every_variant() -> Vec<Variant> {
    ALL.iter()
        .flat_map(|kernel| constants(kernel).into_iter().map(|constants| variant(kernel, &constants)))
        .collect()
}

/// As [`every_variant`], of the kernels that WebGPU's core runs: cooperative matrices are an extension of
/// Vulkan's and Metal's.
pub fn every_portable_variant() -> Vec<Variant> {
    let mut variants = every_variant();
    variants.retain(|variant| !variant.kernel.uses_matrix_units);
    variants
}

/// The values that an override may take.
fn legal_values(name: &str) -> Vec<f64> {
    match name {
        "TEXELS" => vec![1.0, 3.0, 8.0, 9.0, 16.0],
        "INPUT_F16" | "OUTPUT_F16" => vec![0.0, 1.0],
        "OUTER" | "RUN" => vec![1.0, 3.0, 4.0],
        "COLUMN_TEXELS" => vec![1.0, 17.0, 192.0],
        "LANES" | "SHARE_LANES" => vec![8.0, 16.0],
        "ACTIVATION" => (0..=5).map(f64::from).collect(),
        "OPERATION" => (0..=3).map(f64::from).collect(),
        other => panic!("say here which values {other} may take"),
    }
}

fn constants(kernel: &Kernel) -> Vec<PipelineConstants> {
    let mut combinations = vec![PipelineConstants::default()];
    for name in kernel.overrides {
        combinations = legal_values(name)
            .into_iter()
            .flat_map(|value| {
                combinations.iter().map(move |combination| {
                    let mut combination = combination.clone();
                    combination.insert((*name).to_owned(), value);
                    combination
                })
            })
            .collect();
    }
    if !kernel.overrides.is_empty() {
        combinations.push(PipelineConstants::default());
    }
    combinations
}

fn variant(kernel: &'static Kernel, constants: &PipelineConstants) -> Variant {
    let title = format!("{} {constants:?}", kernel.name);
    let module = naga::front::wgsl::parse_str(kernel.source).expect(&title);
    let info = validator().validate(&module).expect(&title);
    let entry_point = Some((ShaderStage::Compute, kernel.entry_point));
    let (module, _) = process_overrides(&module, &info, entry_point, constants).expect(&title);
    let module = module.into_owned();
    // Again: a value put in may make an invalid module of a valid one.
    let info = validator().validate(&module).expect(&title);
    Variant { kernel, title, module, info }
}

/// Takes what the build takes.
pub fn validator() -> Validator {
    // As in build/main.rs.
    let capabilities = Capabilities::SUBGROUP
        | Capabilities::SUBGROUP_BARRIER
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SHADER_FLOAT16
        | Capabilities::COOPERATIVE_MATRIX;
    Validator::new(ValidationFlags::all(), capabilities)
}
