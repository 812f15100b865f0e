//! Every kernel passes naga's writers for Metal, Direct3D, OpenGL and Vulkan, whatever its overrides: the
//! proof that it would compile on machines that the tests do not see. Those on matrix units have to pass
//! where there are such: Metal's and Vulkan's.

use naga::ShaderStage;
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};

use super::variants::{Variant, every_portable_variant, every_variant};

/// As wgpu compiles with its runtime checks on.
const CHECKED: BoundsCheckPolicies = policies(BoundsCheckPolicy::Restrict);
/// As it compiles a module that is trusted.
pub const UNCHECKED: BoundsCheckPolicies = policies(BoundsCheckPolicy::Unchecked);

const fn policies(policy: BoundsCheckPolicy) -> BoundsCheckPolicies {
    BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy }
}

#[test]
fn metal() {
    for bounds_check_policies in [CHECKED, UNCHECKED] {
        for Variant { kernel, title, module, info } in every_variant() {
            // SIMD-group operations came with Metal 2.1, matrices of theirs with 2.3; texture writes and the
            // rest are older.
            let lang_version = if kernel.uses_matrix_units { (2, 3) } else { (2, 1) };
            let options = msl::Options { lang_version, bounds_check_policies, ..Default::default() };
            if let Err(error) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            {
                panic!("{title}: {error}");
            }
        }
    }
}

#[test]
fn direct3d() {
    for restrict_indexing in [true, false] {
        for Variant { title, module, info, .. } in every_portable_variant() {
            // Wave operations came with shader model 6.0.
            let shader_model = hlsl::ShaderModel::V6_0;
            let options = hlsl::Options { shader_model, restrict_indexing, ..Default::default() };
            let mut text = String::new();
            let pipeline_options = hlsl::PipelineOptions::default();
            let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline_options);
            if let Err(error) = writer.write(&module, &info, None) {
                panic!("{title}: {error}");
            }
        }
    }
}

#[test]
fn opengl() {
    for version in [glsl::Version::new_gles(310), glsl::Version::Desktop(430)] {
        for variant in every_portable_variant() {
            if let Err(error) = write_glsl(&variant, version) {
                panic!("{} in GLSL {version}: {error}", variant.title);
            }
        }
    }
}

fn write_glsl(variant: &Variant, version: glsl::Version) -> Result<(), glsl::Error> {
    let mut text = String::new();
    let options = glsl::Options { version, ..Default::default() };
    let pipeline_options = glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: "main".to_owned(),
        multiview: None,
    };
    glsl::Writer::new(&mut text, &variant.module, &variant.info, &options, &pipeline_options, UNCHECKED)?
        .write()?;
    Ok(())
}

#[test]
fn vulkan() {
    for bounds_check_policies in [CHECKED, UNCHECKED] {
        // Subgroup operations came with SPIR-V 1.3, which is Vulkan 1.1.
        let options = spv::Options { lang_version: (1, 3), bounds_check_policies, ..Default::default() };
        for Variant { title, module, info, .. } in every_variant() {
            if let Err(error) = spv::write_vec(&module, &info, &options, None) {
                panic!("{title}: {error}");
            }
        }
    }
}
