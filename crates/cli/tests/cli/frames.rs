//! `segment` on frames, and on paths from stdin.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Workspace, fixture, reports, succeed};

/// Frames 2 and 10, which are the fixtures' scenes, and 11, of another size; as text, their names would sort
/// in another order.
fn with_frames() -> Workspace {
    let workspace = Workspace::empty();
    fs::create_dir(workspace.path("frames")).unwrap();
    for (from, to) in [("scene-1.png", "frame2.png"), ("scene-2.png", "frame10.png")] {
        fs::copy(fixture("shapes").join(from), workspace.path("frames").join(to)).unwrap();
    }
    let other = image::open(fixture("shapes/scene-1.png")).unwrap();
    other.crop_imm(0, 0, 200, 256).save(workspace.path("frames/frame11.png")).unwrap();
    workspace
}

fn probabilities(workspace: &Workspace, out: &str, more: &[&str]) -> Vec<(String, Vec<f32>)> {
    let model = fixture("models/clipseg-shapes");
    let [frames, out] = ["frames", out].map(|name| workspace.argument(name));
    let start = ["segment", "--model", model.to_str().unwrap(), &frames, "-p", "a square", "--json"];
    let reports = reports(&succeed(&[&start[..], &["--save", "npy", "--out", &out], more].concat()));
    let frame = |report: &serde_json::Value| {
        let photo = report["photo"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        (photo, values(report))
    };
    reports.iter().map(frame).collect()
}

fn values(report: &serde_json::Value) -> Vec<f32> {
    let bytes = fs::read(report["prompts"][0]["files"]["npy"].as_str().unwrap()).unwrap();
    let (values, _) = bytes[128..].as_chunks::<4>();
    values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The mean is taken at the model's own size of 128 × 128, so the formula holds for pixels within larger
/// areas of one answer.
#[test]
fn frames_are_averaged_in_the_order_of_their_numbers() {
    let workspace = with_frames();
    let plain = probabilities(&workspace, "plain", &[]);
    let smooth = probabilities(&workspace, "smooth", &["--smooth", "0.75"]);
    let names: Vec<_> = smooth.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["frame2.png", "frame10.png", "frame11.png"]);
    assert_eq!(plain[0].1, smooth[0].1, "nothing was seen before the first");
    assert_eq!(plain[2].1, smooth[2].1, "a frame of another size begins anew");
    let pixels = plain[0].1.iter().zip(&plain[1].1).zip(&smooth[1].1);
    let certain: Vec<_> = pixels.filter(|((before, now), _)| **before > 0.999 && **now < 0.001).collect();
    assert!(certain.len() > 500, "{}", certain.len());
    for ((before, now), mean) in certain {
        assert!((0.75 * before + 0.25 * now - mean).abs() < 2e-3, "{before} {now} {mean}");
    }
    // A folder is the same however it is spelled.
    let detour = workspace.argument("frames/../frames/frame10.png");
    let model = fixture("models/clipseg-shapes");
    let first = workspace.argument("frames/frame2.png");
    let film = ["segment", "--model", model.to_str().unwrap(), &first, &detour, "-p", "a square", "--json"];
    let spelled = workspace.argument("spelled");
    let more = ["--save", "npy", "--out", &spelled, "--smooth", "0.75"];
    let spelled = reports(&succeed(&[&film[..], &more].concat()));
    assert_eq!(values(&spelled[1]), smooth[1].1);
    // The frames of another folder are another film.
    fs::create_dir(workspace.path("film")).unwrap();
    fs::rename(workspace.path("frames/frame10.png"), workspace.path("film/frame10.png")).unwrap();
    let film = workspace.argument("film");
    let apart = probabilities(&workspace, "apart", &["--smooth", "0.75", &film]);
    assert_eq!((apart[2].0.as_str(), &apart[2].1), ("frame10.png", &plain[1].1));
    fs::rename(workspace.path("film/frame10.png"), workspace.path("frames/frame10.png")).unwrap();
    let none = probabilities(&workspace, "none", &["--smooth", "0"]);
    assert_eq!(none, plain);
}

#[test]
fn paths_come_from_stdin() {
    let workspace = with_frames();
    let run = |paths: &str| {
        let model = fixture("models/clipseg-shapes");
        let out = workspace.argument("out");
        let mut command = Command::new(env!("CARGO_BIN_EXE_clipseg"));
        command.args([
            "segment",
            "--model",
            model.to_str().unwrap(),
            "-",
            "-p",
            "a square",
            "--json",
            "--out",
            &out,
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(paths.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), stdout, stderr)
    };
    let [first, second] = ["frames/frame10.png", "frames/frame2.png"].map(|name| workspace.argument(name));
    let (code, stdout, stderr) = run(&format!("{first}\n\n{second}"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let photos: Vec<_> =
        reports(&stdout).iter().map(|report| report["photo"].as_str().unwrap().to_owned()).collect();
    assert_eq!(photos, [first, second], "in the order of the lines");
    let (code, _, stderr) = run("\n");
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: -: stdin names no photo"), "{stderr}");
}
