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

#[test]
fn a_lost_device_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for number in 0..9 {
        std::fs::copy(fixture("shapes/scene-1.png"), photos.join(format!("{number}.png"))).unwrap();
    }
    let [photos, out] = [photos, folder.path().join("out")].map(|path| path.display().to_string());
    let model = fixture("models/clipseg-shapes");
    let arguments =
        ["segment", "--model", &model, &photos, "-p", "a ring", "--save", "mask", "--out", &out, "--json"];
    let run = || run(&Segment::try_parse_from(arguments).unwrap().arguments);
    // So many pieces of work does a run have; the photos after the first take a few each.
    let many = 1_000_000;
    faults::at(many, Fault::Loss);
    run().unwrap();
    let all = many - faults::end().unwrap();
    faults::at(all - 30, Fault::Loss);
    let error = run().unwrap_err().to_string();
    assert_eq!(faults::end(), None);
    assert!(error.contains("the device was lost; photos that were not tried: "), "{error}");
}
