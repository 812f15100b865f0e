//! The cache: where it is, what it holds, and working with it alone.

use std::fs;

use super::Tiny;
use clipseg_hub_server::{MAIN, OTHER};

const OFFLINE: (&str, &str) = ("HF_HUB_OFFLINE", "1");
const TOKENIZE: [&str; 4] = ["tokenize", "--model", "tiny/model", "a cat"];

#[test]
fn its_layout_is_the_usual_one() {
    let tiny = Tiny::new();
    tiny.segment_repository();
    assert_eq!(fs::read_to_string(tiny.cache("refs/main")).unwrap(), MAIN);
    let pointer = tiny.cache("snapshots").join(MAIN).join("model.safetensors");
    let blob = tiny.cache("blobs").join(tiny.server.state().etag("model.safetensors"));
    assert_eq!(fs::read(&pointer).unwrap(), fs::read(&blob).unwrap());
    if cfg!(unix) {
        let target = fs::read_link(&pointer).unwrap();
        assert!(target.is_relative());
        assert_eq!(fs::canonicalize(&pointer).unwrap(), fs::canonicalize(&blob).unwrap());
    }
    // A new commit of the same files fetches none of them.
    tiny.server.requests();
    tiny.succeed(&["bench", "--model", "tiny/model@other", "--runs", "1"], &[]);
    tiny.assert_whole(OTHER);
    assert!(super::ranges(&tiny.server.requests()).is_empty());
}

#[test]
fn variables_choose_its_folder() {
    let tiny = Tiny::new();
    let elsewhere = tiny.workspace.argument("elsewhere");
    tiny.succeed(&TOKENIZE, &[("HF_HUB_CACHE", &elsewhere)]);
    assert!(tiny.workspace.path("elsewhere/models--tiny--model/refs/main").exists());
    assert!(!tiny.cache("").exists());
    tiny.succeed(&TOKENIZE, &[("HF_HOME", &elsewhere)]);
    assert!(tiny.workspace.path("elsewhere/hub/models--tiny--model/refs/main").exists());
    tiny.workspace.write("taken", b"a file");
    let taken = tiny.workspace.argument("taken");
    tiny.refuse(&TOKENIZE, &[("HF_HOME", &taken)], &[&taken, "HF_HUB_CACHE"]);
}

#[test]
fn offline_uses_what_is_there_and_names_what_is_not() {
    let tiny = Tiny::new();
    let folder = tiny.cache("");
    let folder = folder.to_str().unwrap().trim_end_matches(['/', '\\']);
    tiny.refuse(&TOKENIZE, &[OFFLINE], &["revision main", "not in the cache", folder, "HF_HUB_OFFLINE"]);
    let (ids, _) = tiny.succeed(&TOKENIZE, &[]);
    tiny.server.requests();
    assert_eq!(tiny.succeed(&TOKENIZE, &[OFFLINE]), (ids, String::new()));
    tiny.refuse_segment(&[OFFLINE], &["model.safetensors of tiny/model is not in the cache", folder, MAIN]);
    fs::remove_file(tiny.cache("snapshots").join(MAIN).join("merges.txt")).unwrap();
    tiny.refuse(&TOKENIZE, &[OFFLINE], &["--model tiny/model", "merges.txt is missing", MAIN]);
    assert!(tiny.server.requests().is_empty());
}

#[test]
fn where_the_hub_does_not_answer_the_cache_does_with_a_warning() {
    let tiny = Tiny::new();
    // Nothing listens there any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = format!("http://{closed}");
    let unreachable = [("HF_ENDPOINT", closed.as_str())];
    let words = ["no such folder", "cannot reach", &closed, "HF_ENDPOINT", "HF_HUB_OFFLINE", "folder"];
    tiny.refuse(&TOKENIZE, &unreachable, &words);
    let (ids, _) = tiny.succeed(&TOKENIZE, &[]);
    let (stdout, stderr) = tiny.succeed(&TOKENIZE, &unreachable);
    assert_eq!(stdout, ids);
    assert!(
        stderr.starts_with("warning: tiny/model is taken from the cache") && stderr.contains(MAIN),
        "{stderr}"
    );
    let output = tiny.run(&["bench", "--model", "tiny/model"], &unreachable);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let error = stderr.lines().last().unwrap();
    assert!(error.starts_with("error: model.safetensors of tiny/model is not in the cache"), "{stderr}");
}
