//! `kernels`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Workspace, clipseg, fail, fixture, refuse, succeed};

/// The arguments that measure few forms, quickly, on any adapter that a driver offers.
fn quick<'a>(folder: &'a str, only: &'a str) -> Vec<&'a str> {
    vec!["kernels", "--report", folder, "--only", only, "--seconds", "0.001"]
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn forms_are_measured_checked_and_written() {
    let workspace = Workspace::empty();
    let folder = workspace.argument("report");
    let printed = succeed(&quick(&folder, "film"));
    assert!(printed.contains("0 give wrong numbers, 0 could not be run"), "{printed}");
    assert_eq!(workspace.files("report"), ["report.html", "report.json"]);
    let report = read(&workspace.path("report/report.json"));
    assert_eq!(report["format"], "clipseg-kernels-1");
    let records = report["records"].as_array().unwrap();
    assert!(!records.is_empty());
    for record in records {
        assert_eq!((&record["op"], &record["check"]["is_right"]), (&"FiLM".into(), &true.into()), "{record}");
        assert_eq!(
            (&record["flops"], &record["bytes"]),
            (&(3 * 8 * 485 * 64).into(), &(4 * (485 * 64 + 2 * 8 * 485 * 64 + 2 * 8 * 64)).into())
        );
        let [median, p95] =
            ["median_seconds", "p95_seconds"].map(|name| record["wall"][name].as_f64().unwrap());
        assert!(0.0 < median && median <= p95, "{record}");
        assert_eq!(record["gpu"].is_object(), report["adapter"]["has_timestamps"].as_bool().unwrap());
    }
    let page = fs::read_to_string(workspace.path("report/report.html")).unwrap();
    let name = report["adapter"]["name"].as_str().unwrap().replace('&', "&amp;");
    assert!(page.contains(&name) && page.contains("film") && page.contains("3·P·T·C"), "{page}");

    // A report beside itself.
    let file = workspace.argument("report/report.json");
    let text = succeed(&["kernels", "--compare", &file, &file]);
    assert!(text.contains("geometric mean of B / A is 1.000") && text.contains("film"), "{text}");
    // The same page again, from the data alone.
    succeed(&["kernels", "--report", &workspace.argument("again"), "--from", &file]);
    assert_eq!(fs::read_to_string(workspace.path("again/report.html")).unwrap(), page);
}

#[test]
fn shapes_are_a_files() {
    let workspace = Workspace::empty();
    let shape = r#"[{"model": "A <b>", "layer": "up", "source": "https://a.b/c", "m": 5, "n": 12, "k": 8}]"#;
    workspace.write("shapes.json", shape.as_bytes());
    let [folder, shapes] = [workspace.argument("report"), workspace.argument("shapes.json")];
    succeed(&["kernels", "--report", &folder, "--shapes", &shapes, "--seconds", "0.001"]);
    let report = read(&workspace.path("report/report.json"));
    let records = report["records"].as_array().unwrap();
    assert!(records.len() > 3 && records.iter().all(|record| record["flops"] == 2 * 5 * 12 * 8), "{report}");
    let page = fs::read_to_string(workspace.path("report/report.html")).unwrap();
    assert!(page.contains("A &lt;b&gt;, up") && !page.contains("A <b>"));
}

#[test]
fn what_cannot_be_measured_or_compared_is_refused() {
    let workspace = Workspace::empty();
    let folder = workspace.argument("report");
    refuse(&quick(&folder, "no such op"), &["--only no such op"]);
    refuse(&["kernels", "--report", &folder, "--adapter", "cpu"], &["--adapter cpu", "name an adapter"]);
    refuse(&["kernels", "--report", &folder, "--shapes", "no/file"], &["--shapes no/file"]);
    workspace.write("other.json", br#"{"a": 1}"#);
    let other = workspace.argument("other.json");
    refuse(&["kernels", "--compare", &other, &other], &["--compare", "is not a report.json"]);
    refuse(&["kernels", "--report", &folder, "--from", &other], &["--from", "is not a report.json"]);
    #[cfg(unix)]
    for flag in ["--from", "--shapes"] {
        let arguments = ["kernels", "--report", &folder, flag, "/dev/zero"];
        refuse(&arguments, &[flag, "/dev/zero", "is a device"]);
    }
    assert!(!workspace.path("report").exists());

    // A page of somebody else's.
    fs::create_dir(workspace.path("theirs")).unwrap();
    workspace.write("theirs/report.html", b"<p>mine</p>");
    let theirs = workspace.argument("theirs");
    refuse(&quick(&theirs, "softmax"), &["--report", "theirs", "has not written", "name another folder"]);
    assert_eq!(fs::read(workspace.path("theirs/report.html")).unwrap(), b"<p>mine</p>");
}

/// A report whose names would act in a page if they were markup, with a wrong form, as someone may send it.
fn hostile(workspace: &Workspace) -> String {
    let folder = workspace.argument("measured");
    succeed(&quick(&folder, "softmax"));
    let mut report = read(&workspace.path("measured/report.json"));
    let attack = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">";
    report["adapter"]["name"] = format!("A Card {attack}").into();
    report["records"][0]["layer"] = attack.into();
    report["records"][0]["check"]["is_right"] = false.into();
    report["records"][0]["check"]["worst"] = Value::Null;
    workspace.write("hostile.json", report.to_string().as_bytes());
    workspace.argument("hostile.json")
}

#[test]
fn names_in_a_report_are_text() {
    let workspace = Workspace::empty();
    let file = hostile(&workspace);
    let printed = succeed(&["kernels", "--report", &workspace.argument("page"), "--from", &file]);
    assert!(printed.contains("1 give wrong numbers"), "{printed}");
    let page = fs::read_to_string(workspace.path("page/report.html")).unwrap();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("Wrong numbers: 1 of") && page.contains("WRONG"));
}

/// Needs a browser of Chromium's kin, whose path is in `CLIPSEG_TEST_BROWSER`; `cargo xtask test` runs it
/// where it finds one.
#[test]
#[ignore = "needs a browser"]
fn a_browser_shows_the_page() {
    let browser = std::env::var_os("CLIPSEG_TEST_BROWSER").expect("CLIPSEG_TEST_BROWSER names a browser");
    let workspace = Workspace::empty();
    let file = hostile(&workspace);
    succeed(&["kernels", "--report", &workspace.argument("page"), "--from", &file]);
    let page = format!("file://{}", workspace.argument("page/report.html"));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&browser);
        // Without its sandbox, which the superuser cannot have.
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
        command.arg(format!("--user-data-dir={}", workspace.argument("profile"))).args(arguments).arg(&page);
        let output = command.output().expect("the browser runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the browser prints text")
    };
    let dom = run(&["--dump-dom"]);
    let title = dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).unwrap().0;
    assert!(title.starts_with("Kernels on A Card &lt;script&gt;"), "{title}");
    assert!(!dom.contains("<script") && !dom.contains("<img"), "{dom}");
    // What the browser made of it has all parts, in their places.
    let records = read(&workspace.path("hostile.json"))["records"].as_array().unwrap().len();
    assert_eq!(dom.matches("<td class=\"form\">").count(), records, "{dom}");
    assert!(dom.contains("class=\"cross\"") && dom.contains("WRONG"), "{dom}");
    for heading in ["Roofline", "All forms", "How it was measured"] {
        assert!(dom.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }

    // And it is drawn: in the style's colours, on the whole window.
    let picture = workspace.argument("page.png");
    run(&["--window-size=1200,1600", &format!("--screenshot={picture}")]);
    let picture = image::open(picture).expect("a screenshot").to_rgb8();
    assert_eq!(picture.dimensions(), (1200, 1600));
    let of = |colour: [u8; 3]| picture.pixels().filter(|pixel| pixel.0 == colour).count();
    let [light, dark] = [of([0xf7, 0xf7, 0xf5]), of([0x13, 0x15, 0x19])];
    assert!(light.max(dark) > 100_000, "the page's own background is not there: {light}, {dark}");
    let [ink, wrong] =
        [of([0x1b, 0x1d, 0x20]) + of([0xe4, 0xe6, 0xe9]), of([0xc0, 0x26, 0x26]) + of([0xff, 0x7b, 0x72])];
    assert!(ink > 500 && wrong > 50, "{ink} {wrong}");
}

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

#[test]
fn wrong_arguments_are_told() {
    let output = clipseg(&["kernels"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && stderr.contains("--report"), "{stderr}");
}
