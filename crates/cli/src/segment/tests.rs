use clap::Parser;
use clipseg_tensor::faults::{self, Fault};

use super::*;

#[derive(Parser)]
struct Segment {
    #[command(flatten)]
    arguments: Arguments,
}

fn fixture(name: &str) -> String {
    format!("{}/../../fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A folder of photos, and a function that segments them by two prompts.
fn photos(count: usize) -> (tempfile::TempDir, impl Fn() -> Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for number in 0..count {
        std::fs::copy(fixture("shapes/scene-1.png"), photos.join(format!("{number}.png"))).unwrap();
    }
    let [photos, out] = [photos, folder.path().join("out")].map(|path| path.display().to_string());
    let run = move || {
        let model = fixture("models/clipseg-shapes");
        let arguments = ["segment", "--model", &model, &photos, "--save", "mask", "--out", &out, "--json"];
        let prompts = ["-p", "a ring", "-p", "a star"];
        run(&Segment::try_parse_from(arguments.into_iter().chain(prompts)).unwrap().arguments)
    };
    (folder, run)
}

/// How many pieces of work the device does for the main thread in a run.
fn pieces(run: impl Fn() -> Result<()>) -> usize {
    let many = 1_000_000;
    faults::at(many, Fault::Loss);
    run().unwrap();
    many - faults::end().unwrap()
}

#[test]
fn a_lost_device_ends_the_run() {
    let (_folder, run) = photos(9);
    // That is in the work on the photos after the first, each of which takes a few pieces.
    faults::at(pieces(&run) - 30, Fault::Loss);
    let error = run().unwrap_err().to_string();
    assert_eq!(faults::end(), None);
    assert!(error.contains("the device was lost; photos that were not tried: "), "{error}");
}

#[test]
fn a_run_goes_on_where_memory_is_short_for_all_prompts_at_once() {
    crate::report::show_warnings();
    let (_folder, run) = photos(2);
    // The last pieces are those of decoding.
    faults::at(pieces(&run) - 1, Fault::OutOfMemory);
    run().unwrap();
    assert_eq!(faults::end(), None);
}
