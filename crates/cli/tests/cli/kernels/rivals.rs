//! `kernels --rival` and `--export`.

use std::fs;

use serde_json::Value;

use super::read;
use crate::support::{Workspace, fail, fixture, refuse, succeed};

/// One small product.
const SMALL: &[u8] = br#"[{"model": "A", "layer": "b", "source": "c", "m": 9, "n": 7, "k": 10}]"#;

#[test]
fn a_rival_is_a_row_beside_ours() {
    let workspace = Workspace::empty();
    workspace.write("shapes.json", SMALL);
    let [folder, shapes, ours] = ["report", "shapes.json", "ours"].map(|name| workspace.argument(name));
    let told = succeed(&["kernels", "--export", &ours]);
    assert!(told.contains("ai.onnx.Gemm: matmul_skinny, matmul_tile_vec4") && told.contains(&ours), "{told}");
    let gemm = workspace.tree("ours/ai.onnx.Gemm");
    for file in ["manifest.json", "metadata.json", "test.json", "bench.json", "matmul_tile.wgsl.jinja"] {
        assert!(gemm.contains(&format!("build/webgpu/{file}")), "{gemm:?}");
    }
    let theirs = fixture("rivals/ai.onnx.MatMul").to_str().unwrap().to_owned();
    let gemm = workspace.argument("ours/ai.onnx.Gemm");
    let all = ["kernels", "--report", &folder, "--shapes", &shapes, "--seconds", "0.001"];
    succeed(&[&all[..], &["--rival", &theirs, "--rival", &gemm]].concat());
    let report = read(&workspace.path("report/report.json"));
    let records = report["records"].as_array().unwrap();
    for (origin, form) in [(&theirs, "ai.onnx.MatMul (plain)"), (&gemm, "ai.onnx.Gemm (matmul_tile_bias)")] {
        let of = |record: &&Value| record["origin"] == origin.as_str();
        let rival = records.iter().find(of).unwrap_or_else(|| panic!("{origin} is not in {report}"));
        assert_eq!((&rival["kernels"][0], &rival["check"]["is_right"]), (&form.into(), &true.into()));
        assert_eq!((&rival["op"], &rival["shape"]), (&records[0]["op"], &records[0]["shape"]));
        assert_eq!((&rival["flops"], &rival["is_default"]), (&records[0]["flops"], &false.into()));
        assert!(rival["wall"]["median_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(rival["gpu"].is_object(), report["adapter"]["has_timestamps"].as_bool().unwrap());
    }
    // Ours under the same conditions is there, too.
    let as_theirs =
        |record: &&Value| record["configuration"].as_str().unwrap().starts_with("ours as others run");
    let own: Vec<_> = records.iter().filter(as_theirs).collect();
    assert_eq!(
        (own.len(), &own[0]["kernels"][0]),
        (1, &"ai.onnx.Gemm (matmul_tile_bias)".into()),
        "{report}"
    );
    assert!(
        own[0]["check"]["is_right"] == true && own[0]["origin"].is_null() && own[0]["is_default"] == false
    );
    let page = fs::read_to_string(workspace.path("report/report.html")).unwrap();
    assert!(
        page.contains("another's</span>")
            && page.contains("without a bias")
            && page.contains("All of wgpu's checks")
    );
}

#[test]
fn a_rival_with_wrong_numbers_is_said_to_be_wrong() {
    let workspace = Workspace::empty();
    workspace.write("shapes.json", SMALL);
    let [folder, shapes, ours] = ["report", "shapes.json", "ours"].map(|name| workspace.argument(name));
    succeed(&["kernels", "--export", &ours]);
    let build = "ours/ai.onnx.Gemm/build/webgpu";
    let [kernel, metadata] =
        ["matmul_tile.wgsl.jinja", "metadata.json"].map(|name| format!("{build}/{name}"));
    workspace.edit(&kernel, "value += bias[column];", "value -= bias[column];");
    let gemm = workspace.argument("ours/ai.onnx.Gemm");
    let arguments =
        ["kernels", "--report", &folder, "--shapes", &shapes, "--seconds", "0.001", "--rival", &gemm];
    // It is no longer what was published.
    refuse(&arguments, &["--rival", "matmul_tile.wgsl.jinja: is not the file", "remove metadata.json"]);
    fs::remove_file(workspace.path(&metadata)).unwrap();
    let (printed, error) = fail(&arguments);
    assert!(
        printed.contains("1 give wrong numbers") && error.contains("1 give wrong numbers"),
        "{printed} {error}"
    );
    let page = fs::read_to_string(workspace.path("report/report.html")).unwrap();
    assert!(
        page.contains("Wrong numbers: 1 of") && page.contains("ai.onnx.Gemm (matmul_tile_bias) of product")
    );
}

#[test]
fn a_kernel_of_another_is_not_overwritten() {
    let workspace = Workspace::empty();
    let [ours, theirs] = ["ours", "theirs"].map(|name| workspace.argument(name));
    succeed(&["kernels", "--export", &ours]);
    succeed(&["kernels", "--export", &ours]);
    let build = "theirs/ai.onnx.Gemm/build/webgpu";
    fs::create_dir_all(workspace.path(build)).unwrap();
    let manifest = format!("{build}/manifest.json");
    workspace.write(&manifest, b"{}");
    let words = ["--export", "ai.onnx.Gemm/build/webgpu/manifest.json", "choose another folder"];
    refuse(&["kernels", "--export", &theirs], &words);
    assert_eq!(fs::read(workspace.path(&manifest)).unwrap(), b"{}");
}

#[test]
fn a_rival_that_cannot_be_read_is_refused_by_its_file() {
    let workspace = Workspace::empty();
    let [folder, ours] = ["report", "ours"].map(|name| workspace.argument(name));
    succeed(&["kernels", "--export", &ours]);
    let rival = |folder: &str, only: &str, words: &[&str]| {
        let own = workspace.argument("report");
        let arguments =
            ["kernels", "--report", &own, "--only", only, "--seconds", "0.001", "--rival", folder];
        refuse(&arguments, words);
    };
    let at = |id: &str| workspace.argument(&format!("ours/{id}"));
    rival(&ours, "softmax", &["--rival", "neither manifest.json nor build/webgpu/manifest.json"]);
    rival(&at("ai.onnx.Softmax"), "film", &["ai.onnx.Softmax", "leave out --only"]);
    let build = |id: &str, name: &str| format!("ours/{id}/build/webgpu/{name}");
    for id in ["ai.onnx.Add", "ai.onnx.Mul", "ai.onnx.Sigmoid"] {
        fs::remove_file(workspace.path(&build(id, "metadata.json"))).unwrap();
    }
    workspace.edit(&build("ai.onnx.Add", "manifest.json"), "\"name\": \"Add\"", "\"name\": \"Einsum\"");
    rival(&at("ai.onnx.Add"), "sum", &["is ai.onnx.Einsum, which nothing here computes", "ai.onnx.Softmax"]);
    fs::remove_file(workspace.path(&build("ai.onnx.Mul", "binary.wgsl.jinja"))).unwrap();
    rival(&at("ai.onnx.Mul"), "value by value", &["binary.wgsl.jinja: cannot be read", "whole folder"]);
    workspace.write(&build("ai.onnx.Sigmoid", "manifest.json"), b"{\"name\": 3");
    rival(&at("ai.onnx.Sigmoid"), "sigmoid", &["manifest.json: is not a manifest of specification"]);
    assert!(!workspace.path("report").exists(), "{folder}");
}
