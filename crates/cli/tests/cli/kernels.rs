//! `kernels`.

#[cfg(feature = "webgpu-kernels")]
mod rivals;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Workspace, clipseg, refuse, succeed};

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

#[test]
fn wrong_arguments_are_told() {
    let output = clipseg(&["kernels"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && stderr.contains("--report"), "{stderr}");
}

/// Of `cargo test --package clipseg-cli --no-default-features`.
#[cfg(not(feature = "webgpu-kernels"))]
#[test]
fn a_kernel_of_others_needs_a_feature() {
    let workspace = Workspace::empty();
    let folder = workspace.argument("out");
    let words = ["without the feature `webgpu-kernels`", "build it", "cargo install"];
    refuse(&["kernels", "--export", &folder], &[&["--export"], &words[..]].concat());
    let rival = ["kernels", "--report", &folder, "--rival", "theirs"];
    refuse(&rival, &[&["--rival theirs"], &words[..]].concat());
    assert!(!workspace.path("out").exists());
}
