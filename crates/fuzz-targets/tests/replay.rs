//! Runs every committed seed and finding, without libFuzzer.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use clipseg_fuzz_targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The files of a folder, by name; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry of a folder").path()).collect();
    files.sort();
    files
}

/// This is a single test because allocations of other threads count too.
#[test]
fn every_seed_and_finding_is_survived() {
    let mut failed = Vec::new();
    for target in TARGETS {
        let seeds = files(&fuzz().join("seeds").join(target.name));
        let findings = files(&fuzz().join("findings").join(target.name));
        let (mut accepted, mut refused) = (0, 0);
        for path in seeds.iter().chain(&findings) {
            let input = fs::read(path).expect("a committed file");
            match catch_unwind(AssertUnwindSafe(|| target.run(&input))) {
                Ok(true) => accepted += 1,
                Ok(false) => refused += 1,
                Err(_) => failed.push(path.display().to_string()),
            }
        }
        println!("{}: {accepted} accepted, {refused} refused", target.name);
        // Seeds that are all accepted or all refused would not lead the fuzzer anywhere.
        assert!(accepted > 0 && refused > 0, "{}: {accepted} accepted, {refused} refused", target.name);
    }
    assert!(failed.is_empty(), "these fail; what the first says is above: {failed:#?}");
}

#[test]
fn every_target_is_a_program_and_has_a_dictionary() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("the manifest of the fuzz targets");
    for target in TARGETS {
        let name = target.name;
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}: not in Cargo.toml");
        let program = fs::read_to_string(fuzz().join(format!("targets/{name}.rs"))).expect("a program");
        assert!(program.contains(&format!("{}.run(", name.to_uppercase())), "{name}: runs another target");
        let words = fs::read_to_string(fuzz().join(format!("dictionaries/{name}.dict")));
        assert!(words.is_ok_and(|words| words.lines().count() > 5), "{name}: no dictionary");
    }
    assert_eq!(files(&fuzz().join("targets")).len(), TARGETS.len());
}
