//! Every kernel keeps to WebGPU's default limits, so that every adapter runs it; those on matrix units may
//! have more workgroup memory.

use clipseg_shaders::BindingKind;
use clipseg_shaders::kernels::ALL;
use naga::proc::Layouter;
use naga::{AddressSpace, ImageClass, Module, TypeInner};

use super::variants::every_variant;

/// Bytes of all the variables in workgroup memory.
fn workgroup_memory(module: &Module) -> u32 {
    let mut layouter = Layouter::default();
    layouter.update(module.to_ctx()).expect("a valid module");
    let variables = module.global_variables.iter().map(|(_, variable)| variable);
    variables
        .filter(|variable| variable.space == AddressSpace::WorkGroup)
        .map(|variable| layouter[variable.ty].size)
        .sum()
}

/// How many of the module's variables are storage buffers, sampled textures and storage textures.
fn resources(module: &Module) -> [usize; 3] {
    let count = |wanted: fn(&TypeInner, AddressSpace) -> bool| {
        let variables = module.global_variables.iter();
        variables.filter(|(_, variable)| wanted(&module.types[variable.ty].inner, variable.space)).count()
    };
    [
        count(|_, space| matches!(space, AddressSpace::Storage { .. })),
        count(|inner, _| matches!(inner, TypeInner::Image { class: ImageClass::Sampled { .. }, .. })),
        count(|inner, _| matches!(inner, TypeInner::Image { class: ImageClass::Storage { .. }, .. })),
    ]
}

#[test]
fn workgroup_memory_is_at_most_16_kib_and_with_matrix_units_32() {
    let mut largest = 0;
    for variant in every_variant() {
        let bytes = workgroup_memory(&variant.module);
        // A device with matrix units is only taken where it offers so much.
        let most = if variant.kernel.uses_matrix_units { 32 << 10 } else { 16 << 10 };
        assert!(bytes <= most, "{}: {bytes} bytes of workgroup memory", variant.title);
        largest = largest.max(bytes);
    }
    // Else the loop above looked at nothing.
    assert!(largest > 0, "no kernel has workgroup memory");
}

#[test]
fn workgroups_are_at_most_256_invocations() {
    for variant in every_variant() {
        let [x, y, z] = variant.module.entry_points[0].workgroup_size;
        assert!(x * y * z <= 256 && z <= 64, "{}: a workgroup of {x}×{y}×{z}", variant.title);
    }
}

#[test]
fn resources_fit_one_stage() {
    for variant in every_variant() {
        let [buffers, textures, storage_textures] = resources(&variant.module);
        assert!(buffers <= 8, "{}: {buffers} storage buffers", variant.title);
        assert!(textures <= 16, "{}: {textures} textures", variant.title);
        assert!(storage_textures <= 4, "{}: {storage_textures} storage textures", variant.title);
    }
}

#[test]
fn every_kernels_last_binding_is_its_output() {
    for kernel in ALL {
        let last = kernel.bindings.last().expect(kernel.name);
        let is_output = matches!(last.kind, BindingKind::StorageReadWrite | BindingKind::StorageTextureWrite);
        assert!(is_output, "{}: {last:?}", kernel.name);
    }
}
