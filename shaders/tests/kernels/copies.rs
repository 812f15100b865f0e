//! WGSL has no imports: what several kernels share stands in each of them. The copies are held together here.

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{
    ALL, attention, attention_cooperative_8, attention_cooperative_16, attention_vec4, layer_norm,
    layer_norm_vec4, matmul_broadcast, matmul_cooperative_8, matmul_cooperative_16,
    matmul_cooperative_small_8, matmul_cooperative_small_16, matmul_skinny, matmul_skinny_packed_f16,
    matmul_subgroup, matmul_subgroup_packed_f16, matmul_tile, matmul_tile_dot, matmul_tile_double_buffered,
    matmul_tile_packed_f16, matmul_tile_vec4, mlp_subgroup, mlp_subgroup_packed_f16,
};

/// The forms of one matrix product on storage buffers: callers give each the same parameters and resources.
const MATMULS: [&Kernel; 12] = [
    &matmul_tile::KERNEL,
    &matmul_tile_vec4::KERNEL,
    &matmul_tile_double_buffered::KERNEL,
    &matmul_tile_dot::KERNEL,
    &matmul_tile_packed_f16::KERNEL,
    &matmul_skinny::KERNEL,
    &matmul_skinny_packed_f16::KERNEL,
    &matmul_broadcast::KERNEL,
    &matmul_cooperative_8::KERNEL,
    &matmul_cooperative_16::KERNEL,
    &matmul_cooperative_small_8::KERNEL,
    &matmul_cooperative_small_16::KERNEL,
];

/// The text of a function, from its first line to the closing brace at the line's start.
fn function<'a>(kernel: &'a Kernel, name: &str) -> Option<&'a str> {
    let start = kernel.source.find(&format!("\nfn {name}("))? + 1;
    let text = &kernel.source[start..];
    Some(&text[..text.find("\n}\n")? + 2])
}

/// The functions `name` of all kernels that have one, with the kernels' names.
fn copies(name: &str) -> Vec<(&'static str, &'static str)> {
    ALL.iter().filter_map(|kernel| Some((kernel.name, function(kernel, name)?))).collect()
}

#[test]
fn activations_are_the_same_in_every_kernel() {
    let with_activation: Vec<_> = ALL
        .iter()
        .filter(|kernel| kernel.overrides.contains(&"ACTIVATION"))
        .map(|kernel| kernel.name)
        .collect();
    assert!(with_activation.len() > 1);
    for name in ["activate", "erf"] {
        let copies = copies(name);
        assert_eq!(copies.iter().map(|(kernel, _)| *kernel).collect::<Vec<_>>(), with_activation);
        for (kernel, text) in &copies {
            assert_eq!(*text, copies[0].1, "`{name}` of {kernel} and {}", copies[0].0);
        }
    }
}

#[test]
fn the_subgroup_kernels_for_halves_differ_in_how_they_read_weights() {
    let without_weights = |kernel: &Kernel| {
        let text = &kernel.source[kernel.source.find("struct Params").expect(kernel.name)..];
        let end = text.find("alias EightRows").expect(kernel.name);
        let accumulate = text.find("\nfn accumulate").expect(kernel.name);
        format!("{}{}", &text[..end], &text[accumulate..]).replace("rgba32uint", "rgba32float")
    };
    for (full, halves) in [
        (&matmul_subgroup::KERNEL, &matmul_subgroup_packed_f16::KERNEL),
        (&mlp_subgroup::KERNEL, &mlp_subgroup_packed_f16::KERNEL),
    ] {
        assert_eq!(without_weights(full), without_weights(halves), "{}", halves.name);
    }
}

#[test]
fn the_subgroup_mlp_multiplies_as_the_matmul_does() {
    for (mlp, matmul) in [
        (&mlp_subgroup::KERNEL, &matmul_subgroup::KERNEL),
        (&mlp_subgroup_packed_f16::KERNEL, &matmul_subgroup_packed_f16::KERNEL),
    ] {
        for name in ["accumulate", "multiply", "load_rows"] {
            assert_eq!(function(mlp, name), function(matmul, name), "`{name}` of {}", mlp.name);
        }
        let weight_texels = function(matmul, "weight_texels").expect(matmul.name);
        for weight in ["up", "down"] {
            let expected = weight_texels.replace("weight", weight);
            assert_eq!(function(mlp, &format!("{weight}_texels")), Some(&*expected), "{}", mlp.name);
        }
    }
}

// The loops over rows are unrolled by every driver's compiler where they are so short.
#[test]
fn the_subgroup_kernels_walk_no_more_than_eight_rows_at_once() {
    for kernel in ALL.iter().filter(|kernel| kernel.overrides.contains(&"LANES")) {
        let rows = kernel.source.split("var row = 0u; row < ").skip(1).map(|rest| rest.split(';').next());
        let bounds: Vec<_> = rows.flatten().collect();
        assert!(bounds.iter().all(|bound| ["8u", "ROWS"].contains(bound)), "{}: {bounds:?}", kernel.name);
        if bounds.contains(&"ROWS") {
            assert!(kernel.source.contains("const ROWS: u32 = 8u;"), "{}", kernel.name);
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
    assert_interchangeable(&MATMULS);
    assert_interchangeable(&[&matmul_subgroup::KERNEL, &matmul_subgroup_packed_f16::KERNEL]);
    assert_interchangeable(&[&mlp_subgroup::KERNEL, &mlp_subgroup_packed_f16::KERNEL]);
    assert_interchangeable(&[
        &attention::KERNEL,
        &attention_vec4::KERNEL,
        &attention_cooperative_8::KERNEL,
        &attention_cooperative_16::KERNEL,
    ]);
    let sequences = copies("sequence_of");
    assert!(sequences.len() == 5 && sequences.iter().all(|(_, text)| *text == sequences[0].1));
    assert_interchangeable(&[&layer_norm::KERNEL, &layer_norm_vec4::KERNEL]);
}

#[test]
fn the_matmuls_on_vectors_share_their_functions() {
    for name in ["input_vector", "input_block", "weight_block", "multiply_add", "finish_block", "finish"] {
        let on_vectors = MATMULS.iter().filter(|kernel| !kernel.uses_matrix_units);
        let copies = on_vectors.filter_map(|kernel| Some((kernel.name, function(kernel, name)?)));
        let copies: Vec<_> = copies.collect();
        assert!(copies.len() > 2, "{name}");
        for (kernel, text) in &copies {
            // Two of them read and write f16 values.
            let text = text
                .replace("read_input(row * vectors + vector)", "input[row * vectors + vector]")
                .replace("write_output(place, value)", "output[place] = value");
            assert_eq!(text, copies[0].1, "`{name}` of {kernel} and {}", copies[0].0);
        }
    }
    let main = function(&matmul_tile_vec4::KERNEL, "main");
    assert_eq!(function(&matmul_tile_packed_f16::KERNEL, "main"), main);
    for name in ["multiply", "block", "stage"] {
        let of_f16 = function(&matmul_tile_packed_f16::KERNEL, name);
        assert!(of_f16.is_some() && of_f16 == function(&matmul_tile_vec4::KERNEL, name), "{name}");
    }
}

#[test]
fn halves_are_read_and_written_the_same_in_every_kernel() {
    for name in ["widened", "read_input", "write_output"] {
        let copies = copies(name);
        assert!(copies.len() > 2, "{name}");
        for (kernel, text) in &copies {
            let text = text.replace("query_key_value[", "input[");
            let first = copies[0].1.replace("query_key_value[", "input[");
            assert_eq!(text, first, "`{name}` of {kernel} and {}", copies[0].0);
        }
    }
}

#[test]
fn stored_colours_are_found_the_same_in_every_kernel() {
    let copies = copies("encoded");
    assert!(copies.len() > 1 && copies.iter().all(|(_, text)| *text == copies[0].1));
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
        ("attention_vec4", "query_key_value"),
        ("attention_vec4", "output"),
        ("layer_norm_vec4", "output"),
        ("matmul_cooperative_16", "input"),
        ("matmul_cooperative_16", "weight"),
        ("matmul_cooperative_16", "output"),
        ("matmul_cooperative_8", "input"),
        ("matmul_cooperative_8", "weight"),
        ("matmul_cooperative_8", "output"),
        ("matmul_cooperative_small_16", "input"),
        ("matmul_cooperative_small_16", "weight"),
        ("matmul_cooperative_small_16", "output"),
        ("matmul_cooperative_small_8", "input"),
        ("matmul_cooperative_small_8", "weight"),
        ("matmul_cooperative_small_8", "output"),
        ("matmul_skinny_packed_f16", "input"),
        ("matmul_skinny_packed_f16", "weight"),
        ("matmul_skinny_packed_f16", "output"),
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

#[test]
fn the_kernels_on_matrix_units_differ_in_the_size_of_a_matrix() {
    let of_sixteen = |kernel: &Kernel| {
        let text = kernel.source.replace("SIDE: u32 = 8u", "SIDE: u32 = 16u");
        text.replace("LANES: u32 = 8u", "LANES: u32 = 32u").replace("coop_mat8x8", "coop_mat16x16")
    };
    for (eight, sixteen) in [
        (&attention_cooperative_8::KERNEL, &attention_cooperative_16::KERNEL),
        (&matmul_cooperative_8::KERNEL, &matmul_cooperative_16::KERNEL),
        (&matmul_cooperative_small_8::KERNEL, &matmul_cooperative_small_16::KERNEL),
    ] {
        assert_ne!(eight.source, sixteen.source);
        assert_eq!(of_sixteen(eight), sixteen.source, "{}", eight.name);
    }
    for name in ["input_block", "weight_block", "finish_matrix", "finish", "write_output"] {
        let large = function(&matmul_cooperative_16::KERNEL, name);
        assert!(large.is_some() && large == function(&matmul_cooperative_small_16::KERNEL, name), "{name}");
    }
    for name in ["sequence_of", "masks_of"] {
        let other = function(&attention_vec4::KERNEL, name);
        assert!(other.is_some() && other == function(&attention_cooperative_16::KERNEL, name), "{name}");
    }
}

#[test]
fn sums_over_a_workgroup_are_the_same_in_every_kernel() {
    let copies = copies("workgroup_sum");
    assert!(copies.len() > 1);
    for (kernel, text) in &copies {
        assert_eq!(*text, copies[0].1, "`workgroup_sum` of {kernel} and {}", copies[0].0);
    }
}
