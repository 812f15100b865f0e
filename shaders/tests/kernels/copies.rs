//! WGSL has no imports, and a subgroup's lane must be a constant: what several kernels share stands in each of them, and what
//! a loop would say is written out. Both are held together here.

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{
    ALL, attention_subgroup_32, attention_subgroup_64, matmul_subgroup_16, matmul_subgroup_32, mlp_subgroup,
};

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
        differences(&matmul_subgroup_16::KERNEL, &matmul_subgroup_32::KERNEL),
        [("const ROWS: u32 = 16u;", "const ROWS: u32 = 32u;")]
    );
}

#[test]
fn the_subgroup_mlp_takes_every_texel_of_the_input_and_of_the_hidden_values() {
    let written_out = |start: &str| -> Vec<&str> {
        mlp_subgroup::KERNEL.source.lines().map(str::trim).filter(|line| line.starts_with(start)).collect()
    };
    let up = (0..16).map(|texel| format!("let u{texel} = up_texel(column, {}u);", 4 * texel));
    assert_eq!(written_out("let u"), up.collect::<Vec<_>>());
    let to_hidden = (0..16).map(|texel| {
        let (side, lane) = (["left", "right"][texel / 8], texel % 8);
        format!(
            "for (var row = 0u; row < ROWS; row++) {{ hidden[row] = accumulate(hidden[row], subgroupBroadcast(input_{side}[row], {lane}u), u{texel}); }}"
        )
    });
    assert_eq!(
        written_out("for (var row = 0u; row < ROWS; row++) { hidden[row] = acc"),
        to_hidden.collect::<Vec<_>>()
    );
    for side in ["left", "right"] {
        let down =
            (0..8).map(|lane| format!("let {side}{lane} = down_texel({side}, texel * 4u + {}u);", 4 * lane));
        let loads = written_out(&format!("let {side}"));
        assert_eq!(loads[1..], down.collect::<Vec<_>>());
        let to_sums = (0..8).map(|lane| {
            format!(
                "for (var row = 0u; row < ROWS; row++) {{ sums_{side}[row] = accumulate(sums_{side}[row], subgroupBroadcast(hidden[row], {lane}u), {side}{lane}); }}"
            )
        });
        let sums = format!("for (var row = 0u; row < ROWS; row++) {{ sums_{side}");
        assert_eq!(written_out(&sums), to_sums.collect::<Vec<_>>());
    }
}

#[test]
fn the_subgroup_attentions_differ_in_the_head_size() {
    // What is written out once for every texel of the head stands apart: `key_0` and its use, and so on.
    let apart = |kernel: &'static Kernel| -> (Vec<&str>, Vec<&str>) {
        let mut in_condition = false;
        let of_a_texel = |line: &&str| {
            in_condition |= line.contains("if TEXELS >");
            let part = in_condition || line.contains("let key_") || line.contains("query[row][");
            in_condition &= *line != "        }";
            part
        };
        kernel.source.lines().skip_while(|line| !line.contains("var scores")).partition(of_a_texel)
    };
    let (smaller, larger) = (apart(&attention_subgroup_32::KERNEL), apart(&attention_subgroup_64::KERNEL));
    assert_eq!(smaller.1, larger.1);
    assert_eq!(smaller.0, scores_by_texel(8));
    assert_eq!(larger.0, scores_by_texel(16));

    let above =
        |kernel: &'static Kernel| kernel.source.lines().take_while(|line| !line.contains("var scores"));
    let different: Vec<_> = above(&attention_subgroup_32::KERNEL)
        .zip(above(&attention_subgroup_64::KERNEL))
        .skip(1)
        .filter(|(a, b)| a != b)
        .collect();
    assert_eq!(
        different,
        [
            ("override TEXELS: u32 = 8u;", "override TEXELS: u32 = 16u;"),
            ("const LANE_TEXELS: u32 = 1u;", "const LANE_TEXELS: u32 = 2u;")
        ]
    );
}

/// The lines that add each texel of the head to the scores; eight lanes hold a query, and a head may have fewer texels.
fn scores_by_texel(texels: u32) -> Vec<String> {
    let lines = |texel: u32| {
        let (held, lane) = (texel / 8, texel % 8);
        let indent = if texel == 0 { "" } else { "    " };
        let lines = [
            format!(
                "        {indent}let key_{texel} = textureLoad(query_key_value, vec2<u32>(width + head_texel + {texel}u, key_token), 0);"
            ),
            format!(
                "        {indent}for (var row = 0u; row < ROWS; row++) {{ scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][{held}u], {lane}u), key_{texel}); }}"
            ),
        ];
        let condition = (texel > 0).then(|| format!("        if TEXELS > {texel}u {{"));
        let end = (texel > 0).then(|| "        }".to_owned());
        condition.into_iter().chain(lines).chain(end)
    };
    (0..texels).flat_map(lines).collect()
}

#[test]
fn the_subgroup_attentions_take_every_lanes_value() {
    for kernel in [&attention_subgroup_32::KERNEL, &attention_subgroup_64::KERNEL] {
        for lane in 0..16 {
            let load = format!(
                "let value_{lane} = values(width, head_texel, own_texel, first_token + min(block + {lane}u, last));"
            );
            let add =
                format!("add_scaled(sums[row], subgroupBroadcast(scores[row], {lane}u), value_{lane});");
            assert!(kernel.source.contains(&load), "{}: {load}", kernel.name);
            assert!(kernel.source.contains(&add), "{}: {add}", kernel.name);
        }
    }
}
