//! Downloads that break.

use std::fs;
use std::thread;
use std::time::Duration;

use super::{Tiny, ranges};

#[test]
fn a_cut_connection_is_made_again_and_goes_on_where_it_was() {
    let tiny = Tiny::new();
    tiny.server.state().cuts = vec![300_000, 300_000];
    tiny.segment_repository();
    let requests = tiny.server.requests();
    assert_eq!(ranges(&requests), [None, Some("bytes=300000-"), Some("bytes=600000-")]);
}

#[test]
fn a_server_without_ranges_sends_the_whole_again() {
    let tiny = Tiny::new();
    tiny.server.state().cuts = vec![300_000];
    tiny.server.state().ignores_ranges = true;
    tiny.segment_repository();
    assert_eq!(ranges(&tiny.server.requests()), [None, Some("bytes=300000-")]);
}

#[test]
fn what_stays_broken_is_an_error_and_the_next_run_goes_on() {
    let tiny = Tiny::new();
    tiny.server.state().cuts = vec![300_000, 0, 0, 0, 0];
    let total = tiny.server.state().files["model.safetensors"].len().to_string();
    tiny.refuse_segment(
        &[],
        &["model.safetensors", "broke off after 300000 of", &total, "goes on from there"],
    );
    assert_eq!(tiny.server.requests().iter().filter(|request| request.is_storage).count(), 5);
    assert_eq!(fs::metadata(&tiny.incomplete()[0]).unwrap().len(), 300_000);

    tiny.segment_repository();
    assert_eq!(ranges(&tiny.server.requests()), [Some("bytes=300000-")]);
}

/// The process is killed, which is harder than Ctrl-C.
#[test]
fn a_killed_process_leaves_what_the_next_goes_on_with() {
    let tiny = Tiny::new();
    tiny.server.state().cuts = vec![300_000];
    tiny.server.state().hangs = true;
    let mut child = tiny.command(&[]).args(tiny.segment("tiny/model")).spawn().unwrap();
    let arrived = || {
        let incomplete = tiny.incomplete();
        incomplete.first().map_or(0, |path| fs::metadata(path).map_or(0, |file| file.len()))
    };
    for _ in 0..3000 {
        if arrived() == 300_000 {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(arrived(), 300_000);
    assert!(!tiny.cache("snapshots").join(clipseg_hub_server::MAIN).join("model.safetensors").exists());

    tiny.server.requests();
    tiny.segment_repository();
    assert_eq!(ranges(&tiny.server.requests()), [Some("bytes=300000-")]);
}

#[test]
fn what_is_not_what_the_hub_announced_is_thrown_away() {
    let tiny = Tiny::new();
    tiny.server.state().lies = true;
    tiny.refuse_segment(&[], &["model.safetensors arrived damaged", "SHA-256", "run this again"]);
    assert!(tiny.incomplete().is_empty());
    tiny.server.state().lies = false;
    tiny.segment_repository();
}

#[test]
fn two_at_once_download_once() {
    let tiny = Tiny::new();
    let children = [(); 2].map(|()| {
        let mut command = tiny.command(&["bench", "--model", "tiny/model", "--runs", "1", "--json"]);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(ranges(&tiny.server.requests()), [None]);
    tiny.assert_whole(clipseg_hub_server::MAIN);
}
