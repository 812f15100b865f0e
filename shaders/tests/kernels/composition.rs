//! How the build composes kernels of files that include others.

use std::collections::HashMap;

#[path = "../../build/compose.rs"]
mod compose;

use compose::Composed;

/// The kernel `kernel.wgsl` of these files.
fn composed(files: &[(&str, &str)]) -> Result<Composed, String> {
    let files: HashMap<_, _> = files.iter().copied().collect();
    let read =
        |file: &str| files.get(file).map(|text| (*text).to_owned()).ok_or(format!("{file} is not there"));
    Composed::of("kernel.wgsl", &read)
}

#[test]
fn files_include_others_and_these_others() {
    let composed = composed(&[
        ("kernel.wgsl", "// A kernel\n#include \"shared/a.wgsl\"\nlast\n"),
        ("shared/a.wgsl", "first\n#include \"shared/b.wgsl\"\n"),
        ("shared/b.wgsl", "second\n"),
    ]);
    let composed = composed.unwrap();
    assert_eq!(composed.text(), "// A kernel\n// shared/a.wgsl\nfirst\n// shared/b.wgsl\nsecond\nlast\n");
    let origins: Vec<_> = (0..8).map(|line| composed.origin(line)).collect();
    let origins: Vec<_> = origins.iter().map(|origin| origin.as_deref().unwrap_or("none")).collect();
    let expected = [
        "kernel.wgsl:1",
        "kernel.wgsl:2",
        "shared/a.wgsl:1",
        "shared/a.wgsl:2",
        "shared/b.wgsl:1",
        "kernel.wgsl:3",
    ];
    let expected = expected.map(|origin| format!("wgsl/{origin}"));
    assert_eq!(origins[0], "none");
    assert_eq!(origins[1..7], expected);
    assert_eq!(origins[7], "none");
}

#[test]
fn words_are_replaced_where_they_are_whole() {
    let composed = composed(&[
        ("kernel.wgsl", "#include \"a.wgsl\" where input = left, weight = w\ninput\n"),
        ("a.wgsl", "input inputs _input input2 (input)input+weight\n#include \"b.wgsl\"\n"),
        ("b.wgsl", "inputinput input\n"),
    ]);
    let expected = "// a.wgsl\nleft inputs _input input2 (left)left+w\n// b.wgsl\ninputinput left\ninput\n";
    assert_eq!(composed.unwrap().text(), expected);
}

#[test]
fn what_cannot_be_included_is_told_with_its_line() {
    let error = |kernel: &str| {
        let files = [("kernel.wgsl", kernel), ("a.wgsl", "a\n"), ("b.wgsl", "#include \"kernel.wgsl\"\n")];
        composed(&files).err().unwrap_or_else(|| panic!("{kernel} is composed"))
    };
    for (kernel, expected) in [
        ("\n#include a.wgsl\n", "wgsl/kernel.wgsl:2: expected #include \"FILE\""),
        ("#include \"a.wgsl\" with a = b", "wgsl/kernel.wgsl:1: expected"),
        ("#include \"a.wgsl\" where a = ", "wgsl/kernel.wgsl:1: expected"),
        ("#include \"c.wgsl\"", "wgsl/kernel.wgsl:1: c.wgsl is not there"),
        ("#include \"a.wgsl\" where x = b", "wgsl/kernel.wgsl:1: wgsl/a.wgsl has no `x`"),
        ("#include \"b.wgsl\"", "wgsl/kernel.wgsl includes itself, by kernel.wgsl, b.wgsl"),
    ] {
        let message = error(kernel);
        assert!(message.contains(expected), "{message}");
    }
}
