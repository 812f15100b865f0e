//! WGSL has no imports: what several kernels share stands in each of them. The copies are held together here.

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{ALL, matmul_subgroup_16, matmul_subgroup_24};

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

/// Pairs of lines in which two kernels differ.
fn differences(a: &'static Kernel, b: &'static Kernel) -> Vec<(&'static str, &'static str)> {
    assert_eq!(a.source.lines().count(), b.source.lines().count(), "{} and {}", a.name, b.name);
    a.source.lines().zip(b.source.lines()).filter(|(a, b)| a != b).collect()
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
fn the_subgroup_matmuls_differ_in_their_rows() {
    assert_eq!(
        differences(&matmul_subgroup_16::KERNEL, &matmul_subgroup_24::KERNEL),
        [("const ROWS: u32 = 16u;", "const ROWS: u32 = 24u;")]
    );
}
