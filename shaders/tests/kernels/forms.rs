//! Forms of one operation: what they share stands once, and callers can put one in another's place.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{
    ALL, attention, attention_cooperative_8, attention_cooperative_8_lanes_32, attention_cooperative_16,
    attention_lanes, attention_vec4, layer_norm, layer_norm_lanes, layer_norm_vec4, matmul_subgroup,
    matmul_subgroup_packed_f16, mlp_subgroup, mlp_subgroup_packed_f16, softmax, softmax_lanes,
};

/// A product of matrices on storage buffers: callers give each the same parameters and resources.
fn is_matmul(kernel: &&&Kernel) -> bool {
    kernel.name.starts_with("matmul_") && !kernel.name.starts_with("matmul_subgroup")
}

/// The functions of a WGSL text but for entry points, each from its first line to the closing brace at the
/// line's start.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("\nfn ").filter_map(|(start, _)| {
        let function = &text[start + 1..];
        let end = function.find("\n}\n")? + 2;
        Some(&function[..end]).filter(|function| !function.starts_with("fn main("))
    })
}

#[test]
fn no_function_stands_in_two_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("wgsl");
    let mut found: HashMap<String, PathBuf> = HashMap::new();
    for folder in [folder.clone(), folder.join("shared")] {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for path in paths.filter(|path| path.is_file()) {
            let text = fs::read_to_string(&path).unwrap();
            for function in functions(&text) {
                if let Some(other) = found.insert(function.to_owned(), path.clone()) {
                    panic!("{} and {} should include:\n{function}", path.display(), other.display());
                }
            }
        }
    }
    assert!(found.len() > 50, "{} functions", found.len());
    assert_eq!(
        functions("\nfn a() {\n    b();\n}\n\nfn main() {\n}\n").collect::<Vec<_>>(),
        ["fn a() {\n    b();\n}"]
    );
}

// The loops over rows are unrolled by every driver's compiler where they are so short. Those of 16 rows walk
// arrays of as many, which Mesa 22.3, 25.0 and 26.2 unroll too.
#[test]
fn the_subgroup_kernels_walk_few_rows_at_once() {
    for kernel in ALL.iter().filter(|kernel| kernel.overrides.contains(&"LANES")) {
        let rows = kernel.source.split("var row = 0u; row < ").skip(1).map(|rest| rest.split(';').next());
        let bounds: Vec<_> = rows.flatten().collect();
        assert!(bounds.iter().all(|bound| ["8u", "ROWS"].contains(bound)), "{}: {bounds:?}", kernel.name);
        if bounds.contains(&"ROWS") {
            let rows = if kernel.name == "attention_subgroup_16" { 16 } else { 8 };
            assert!(kernel.source.contains(&format!("const ROWS: u32 = {rows}u;")), "{}", kernel.name);
        }
    }
}

/// A caller that may give the same parameters and resources to any of these would not notice if they
/// differed.
fn assert_interchangeable(kernels: &[&Kernel]) {
    let parameters = |kernel: &Kernel| {
        let text = &kernel.source[kernel.source.find("struct Params {").expect(kernel.name)..];
        text[..text.find('}').expect(kernel.name)].to_owned()
    };
    // Some of them take f16 values besides floats: callers ask a binding whether it does, and give the
    // overrides for it where it does.
    let bindings = |kernel: &Kernel| kernel.bindings.iter().map(|it| (it.name, it.kind)).collect::<Vec<_>>();
    let overrides = |kernel: &Kernel| {
        let others = kernel.overrides.iter().filter(|name| !name.ends_with("_F16"));
        others.copied().collect::<Vec<_>>()
    };
    for kernel in kernels {
        assert_eq!(parameters(kernel), parameters(kernels[0]), "{}", kernel.name);
        assert_eq!(bindings(kernel), bindings(kernels[0]), "{}", kernel.name);
        assert_eq!(overrides(kernel), overrides(kernels[0]), "{}", kernel.name);
    }
}

#[test]
fn forms_of_one_operation_take_the_same_parameters_and_resources() {
    let matmuls: Vec<_> = ALL.iter().filter(is_matmul).copied().collect();
    assert!(matmuls.len() > 11, "{} products", matmuls.len());
    assert_interchangeable(&matmuls);
    assert_interchangeable(&[&matmul_subgroup::KERNEL, &matmul_subgroup_packed_f16::KERNEL]);
    assert_interchangeable(&[&mlp_subgroup::KERNEL, &mlp_subgroup_packed_f16::KERNEL]);
    assert_interchangeable(&[
        &attention::KERNEL,
        &attention_vec4::KERNEL,
        &attention_lanes::KERNEL,
        &attention_cooperative_8::KERNEL,
        &attention_cooperative_8_lanes_32::KERNEL,
        &attention_cooperative_16::KERNEL,
    ]);
    assert_interchangeable(&[&layer_norm::KERNEL, &layer_norm_vec4::KERNEL, &layer_norm_lanes::KERNEL]);
    assert_interchangeable(&[&softmax::KERNEL, &softmax_lanes::KERNEL]);
}

// A caller must not bind f16 values where a kernel takes the words for floats, nor say that there are f16
// values where there can be none.
#[test]
fn the_bindings_that_hold_halves_are_those_that_overrides_or_a_type_speak_of() {
    let holding = ALL.iter().flat_map(|kernel| {
        let bindings = kernel.bindings.iter().filter(|binding| binding.may_hold_f16);
        bindings.map(|binding| (kernel.name, binding.name))
    });
    let expected = [
        ("attention_cooperative_16", "query_key_value"),
        ("attention_cooperative_16", "output"),
        ("attention_cooperative_8", "query_key_value"),
        ("attention_cooperative_8", "output"),
        ("attention_cooperative_8_lanes_32", "query_key_value"),
        ("attention_cooperative_8_lanes_32", "output"),
        ("attention_lanes", "query_key_value"),
        ("attention_lanes", "output"),
        ("attention_vec4", "query_key_value"),
        ("attention_vec4", "output"),
        ("layer_norm_lanes", "output"),
        ("layer_norm_vec4", "output"),
        ("matmul_cooperative_16", "input"),
        ("matmul_cooperative_16", "weight"),
        ("matmul_cooperative_16", "output"),
        ("matmul_cooperative_8", "input"),
        ("matmul_cooperative_8", "weight"),
        ("matmul_cooperative_8", "output"),
        ("matmul_cooperative_8_lanes_32", "input"),
        ("matmul_cooperative_8_lanes_32", "weight"),
        ("matmul_cooperative_8_lanes_32", "output"),
        ("matmul_cooperative_small_16", "input"),
        ("matmul_cooperative_small_16", "weight"),
        ("matmul_cooperative_small_16", "output"),
        ("matmul_cooperative_small_8", "input"),
        ("matmul_cooperative_small_8", "weight"),
        ("matmul_cooperative_small_8", "output"),
        ("matmul_cooperative_small_8_lanes_32", "input"),
        ("matmul_cooperative_small_8_lanes_32", "weight"),
        ("matmul_cooperative_small_8_lanes_32", "output"),
        ("matmul_skinny_packed_f16", "input"),
        ("matmul_skinny_packed_f16", "weight"),
        ("matmul_skinny_packed_f16", "output"),
        ("matmul_tile_lanes_packed_f16", "input"),
        ("matmul_tile_lanes_packed_f16", "weight"),
        ("matmul_tile_lanes_packed_f16", "output"),
        ("matmul_tile_packed_f16", "input"),
        ("matmul_tile_packed_f16", "weight"),
        ("matmul_tile_packed_f16", "output"),
    ];
    assert_eq!(holding.collect::<Vec<_>>(), expected);
    for kernel in ALL {
        let has = |name| kernel.overrides.contains(&name);
        let holds = |name| kernel.bindings.iter().any(|binding| binding.name == name && binding.may_hold_f16);
        // On matrix units the input lies in f16 always.
        let may_choose = !kernel.uses_matrix_units && (holds("input") || holds("query_key_value"));
        assert_eq!(has("INPUT_F16"), may_choose, "{}", kernel.name);
        assert_eq!(has("OUTPUT_F16"), holds("output"), "{}", kernel.name);
    }
}
