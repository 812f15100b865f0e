//! Runs Python's own `huggingface_hub` against the same server and the same cache. This checks that the
//! server satisfies the real client, and that the real client finds our cache. `cargo xtask test` runs it
//! with pinned versions.

use std::path::Path;
use std::process::Command;

use clipseg_hub_server::MAIN;

use crate::support::{Tiny, WEIGHTS};

/// The Python that has `huggingface_hub`.
const PYTHON: &str = "CLIPSEG_TEST_PYTHON";

const SNAPSHOT: &str =
    "from huggingface_hub import snapshot_download; print(snapshot_download('tiny/model'))";
const FILES: &str = "import sys; from huggingface_hub import hf_hub_download
for name in sys.argv[1:]: path = hf_hub_download('tiny/model', name)
print(path)";
const REFUSALS: &str = "from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import *
for kind, ask in [
    (RepositoryNotFoundError, lambda: HfApi(token='hf_none').model_info('tiny/none')),
    (RevisionNotFoundError, lambda: HfApi().model_info('tiny/model', revision='none')),
    (EntryNotFoundError, lambda: hf_hub_download('tiny/model', 'none.json')),
]:
    try: ask()
    except kind: continue
    raise SystemExit(f'{kind} was not raised')
print('ok')";

/// Runs a program with `huggingface_hub` against the server and the cache of `tiny`, and returns the last
/// line that it prints.
fn python(tiny: &Tiny, is_offline: bool, code: &str, arguments: &[&str]) -> String {
    let python = std::env::var_os(PYTHON)
        .unwrap_or_else(|| panic!("{PYTHON} names no Python; `cargo xtask test` does"));
    let output = Command::new(python)
        .args(["-c", code])
        .args(arguments)
        .env("HF_ENDPOINT", &tiny.server.endpoint)
        .env("HF_HOME", tiny.home())
        .env("HF_HUB_OFFLINE", if is_offline { "1" } else { "0" })
        // The server has no xet storage, only the bridge to it that we use too.
        .env("HF_HUB_DISABLE_XET", "1")
        .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().lines().last().unwrap().to_owned()
}

/// The files whose content was sent since the requests were last taken.
fn fetched(tiny: &Tiny) -> Vec<String> {
    let requests = tiny.server.requests().into_iter();
    let is_file = |path: &str| ["/resolve", "xet-bridge"].iter().any(|part| path.contains(part));
    requests
        .filter(|request| request.method == "GET" && is_file(&request.path))
        .map(|request| request.path)
        .collect()
}

#[test]
#[ignore = "needs Python with huggingface_hub: `cargo xtask test` runs it"]
fn python_downloads_from_the_server() {
    let tiny = Tiny::new();
    let folder = python(&tiny, false, SNAPSHOT, &[]);
    assert_eq!(Path::new(&folder), tiny.cache("snapshots").join(MAIN));
    tiny.assert_whole();
    assert!(tiny.cached("README.md").exists());
    assert_eq!(python(&tiny, false, REFUSALS, &[]), "ok");

    // We find what Python downloaded: nothing is fetched again.
    tiny.server.requests();
    tiny.succeed();
    assert_eq!(fetched(&tiny), Vec::<String>::new());
}

#[test]
#[ignore = "needs Python with huggingface_hub: `cargo xtask test` runs it"]
fn python_finds_what_we_downloaded() {
    let tiny = Tiny::new();
    tiny.succeed();
    let files = ["config.json", "vocab.json", WEIGHTS];
    let path = python(&tiny, true, FILES, &files);
    assert_eq!(Path::new(&path), tiny.cached(WEIGHTS));
    assert_eq!(Path::new(&python(&tiny, true, SNAPSHOT, &[])), tiny.cache("snapshots").join(MAIN));
    // Even if it may ask the Hub, Python fetches nothing.
    tiny.server.requests();
    python(&tiny, false, FILES, &files);
    assert_eq!(fetched(&tiny), Vec::<String>::new());
    tiny.assert_whole();
}

#[test]
#[ignore = "needs Python with huggingface_hub: `cargo xtask test` runs it"]
fn python_ends_what_we_left_half_done() {
    let tiny = Tiny::new();
    tiny.server.state().cuts = vec![300_000, 0, 0, 0, 0];
    tiny.refuse();
    let left = tiny.incomplete();
    python(&tiny, false, FILES, &[WEIGHTS]);
    assert!(std::fs::read(tiny.cached(WEIGHTS)).unwrap() == tiny.server.state().files[WEIGHTS]);
    assert_eq!(tiny.incomplete(), left, "what is ours stays as it was");
}
