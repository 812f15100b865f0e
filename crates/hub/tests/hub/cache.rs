//! Tests of files that are in the cache already, complete or not.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;

use clipseg_hub::{Error, Progress, Weights};
use clipseg_hub_server::MAIN;

use crate::support::{Tiny, WEIGHTS, ranges};

#[test]
fn a_blob_of_the_wrong_size_is_fetched_again() {
    for name in ["config.json", "vocab.json", WEIGHTS] {
        for with_link in [true, false] {
            let tiny = Tiny::new();
            tiny.succeed();
            let whole = tiny.server.state().files[name].clone();
            for wrong in [&whole[..100], b"", &[&whole[..], b"more"].concat()] {
                fs::write(tiny.blob(name), wrong).unwrap();
                if !with_link {
                    fs::remove_file(tiny.cached(name)).unwrap();
                }
                tiny.succeed();
            }
        }
    }
}

/// Git's checksum detects damage that the size does not show, even without the Hub.
#[test]
fn a_small_file_is_read_for_its_checksum() {
    let mut tiny = Tiny::new();
    tiny.succeed();
    let mut other = tiny.server.state().files["merges.txt"].clone();
    other[17] ^= 1;
    fs::write(tiny.blob("merges.txt"), &other).unwrap();
    tiny.settings.offline = true;
    let error = tiny.refuse();
    assert!(
        matches!(&error, Error::NotCached { missing, .. } if missing == "an undamaged merges.txt"),
        "{error:?}"
    );
    tiny.settings.offline = false;
    tiny.succeed();
}

#[test]
fn a_small_file_that_arrives_damaged_is_refused() {
    let tiny = Tiny::new();
    tiny.server.alter(|request, reply| {
        if request.path.contains("resolve-cache") && request.path.contains("merges") {
            reply.body.iter_mut().for_each(|byte| *byte ^= 1);
        }
    });
    let error = tiny.refuse();
    assert!(
        matches!(&error, Error::Damaged { file, kind: "SHA-1", .. } if file == "merges.txt"),
        "{error:?}"
    );
    assert!(tiny.incomplete().is_empty());
    tiny.server.mend();
    tiny.succeed();
}

#[test]
fn what_an_earlier_run_left_is_gone_on_with() {
    let tiny = Tiny::new();
    tiny.server.state().cuts = vec![300_000, 0, 0, 0, 0];
    assert!(matches!(tiny.refuse(), Error::Broken { done: 300_000, attempts: 5, .. }));
    assert_eq!(tiny.incomplete().len(), 1);
    tiny.server.requests();
    tiny.succeed();
    assert_eq!(ranges(&tiny.server.requests()), [Some("bytes=300000-")]);
}

#[test]
fn what_an_earlier_run_left_damaged_is_begun_anew() {
    let tiny = Tiny::new();
    tiny.server.state().cuts = vec![300_000, 0, 0, 0, 0];
    tiny.refuse();
    fs::write(&tiny.incomplete()[0], [0; 1234]).unwrap();
    tiny.server.requests();
    tiny.succeed();
    assert_eq!(ranges(&tiny.server.requests()), [Some("bytes=1234-"), None]);
}

/// Other programs write to files of their own, whether locks work or not.
#[test]
fn what_others_write_is_neither_used_nor_touched() {
    let tiny = Tiny::new();
    tiny.snapshot().unwrap();
    let etag = tiny.server.state().etag(WEIGHTS);
    let others =
        ["incomplete", "0badcafe.incomplete"].map(|end| tiny.cache("blobs").join(format!("{etag}.{end}")));
    others.iter().for_each(|path| fs::write(path, "of another program").unwrap());
    tiny.download().unwrap();
    assert_eq!(ranges(&tiny.server.requests()), [None]);
    assert!(fs::read(tiny.cached(WEIGHTS)).unwrap() == tiny.server.state().files[WEIGHTS]);
    others.iter().for_each(|path| assert_eq!(fs::read_to_string(path).unwrap(), "of another program"));
}

/// On a drive that grants one lock to several processes, another of our downloads may still be running. This
/// download does not write to the other's file, and the other does not write to this one's.
#[test]
fn a_download_that_goes_on_elsewhere_is_kept_apart() {
    let tiny = Tiny::new();
    tiny.server.state().cuts = vec![300_000, 0, 0, 0, 0];
    tiny.refuse();
    let mut other = fs::File::options().append(true).open(&tiny.incomplete()[0]).unwrap();
    tiny.server.requests();
    let snapshot = tiny.snapshot().unwrap();
    snapshot
        .download_weights(Weights::Safetensors, &mut |progress| {
            if let Progress::Bytes { .. } = progress {
                other.write_all(b"more").unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    other.write_all(b"and more").unwrap();
    tiny.assert_whole();
    assert_eq!(ranges(&tiny.server.requests()), [Some("bytes=300000-")]);
}

#[test]
fn a_download_that_was_broken_off_is_gone_on_with() {
    let tiny = Tiny::new();
    let snapshot = tiny.snapshot().unwrap();
    tiny.server.requests();
    let mut is_over = |progress: Progress<'_>| match progress {
        Progress::Bytes { done: 100_000.., .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let error = snapshot.download_weights(Weights::Safetensors, &mut is_over).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    let arrived = fs::metadata(&tiny.incomplete()[0]).unwrap().len();
    assert!(arrived >= 100_000);
    assert_eq!(ranges(&tiny.server.requests()), [None], "nothing is tried again");
    snapshot.download_weights(Weights::Safetensors, &mut |_| ControlFlow::Continue(())).unwrap();
    tiny.assert_whole();
    assert_eq!(ranges(&tiny.server.requests()), [Some(format!("bytes={arrived}-").as_str())]);
    // Cancelled before anything is requested.
    let error = Tiny::new().snapshot_of("tiny/model", &mut |_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
}

/// Another process writes into the unfinished file itself; the checksum at the end does not match.
#[test]
fn a_part_that_another_wrote_to_is_found_out() {
    let tiny = Tiny::new();
    let mut is_spoilt = false;
    let snapshot = tiny.snapshot().unwrap();
    snapshot
        .download_weights(Weights::Safetensors, &mut |progress| {
            if let Progress::Bytes { done: 100_000.., .. } = progress
                && !is_spoilt
            {
                is_spoilt = true;
                let path = tiny.incomplete().remove(0);
                let mut bytes = fs::read(&path).unwrap();
                bytes[50_000] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(is_spoilt);
    tiny.assert_whole();
    assert_eq!(ranges(&tiny.server.requests()), [None, None]);
}

#[test]
fn without_a_size_a_part_that_is_whole_already_is_known_by_the_server() {
    let tiny = Tiny::new();
    tiny.server.alter(|request, reply| {
        reply.remove("X-Linked-Size");
        if request.method == "HEAD" {
            reply.remove("Content-Length");
        }
    });
    tiny.server.state().cuts = vec![300_000, 0, 0, 0, 0];
    tiny.refuse();
    let whole = tiny.server.state().files[WEIGHTS].clone();
    fs::write(&tiny.incomplete()[0], whole).unwrap();
    tiny.server.requests();
    tiny.succeed();
    assert_eq!(ranges(&tiny.server.requests()), [Some("bytes=700000-")]);
}

#[test]
fn files_of_newer_checkpoints_come_too() {
    let tiny = Tiny::new();
    for name in ["processor_config.json", "added_tokens.json", "tokenizer.json"] {
        tiny.server.state().files.insert(name.to_owned(), b"{}".to_vec());
    }
    tiny.succeed();
    assert!(tiny.cached("processor_config.json").starts_with(tiny.cache("snapshots").join(MAIN)));
}
