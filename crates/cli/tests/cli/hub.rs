//! `--model owner/name`: downloads from a Hub on loopback into the cache.

mod broken;
mod cache;
mod forms;
mod refusals;
mod stopped;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::{Workspace, fixture, tensor};
use clipseg_hub_server::{HubServer, MAIN, OTHER, Reply, Request};

/// A Hub that serves a tiny checkpoint, and a home for what is downloaded.
struct Tiny {
    workspace: Workspace,
    server: HubServer,
}

impl Tiny {
    fn new() -> Self {
        Self::serving(Workspace::tiny())
    }

    fn serving(workspace: Workspace) -> Self {
        let files = workspace.files("model").into_iter().map(|name| {
            let bytes = fs::read(workspace.path("model").join(&name)).unwrap();
            (name, bytes)
        });
        let server = HubServer::start(files.collect());
        Self { workspace, server }
    }

    /// `clipseg`, to be run against this Hub and no other.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clipseg"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["HF_", "HUGGING", "TRANSFORMERS_", "XDG_CACHE"].iter().any(|start| name.starts_with(start)) {
                command.env_remove(name);
            }
        }
        command.env("HF_ENDPOINT", &self.server.endpoint).env("HF_HOME", self.workspace.path("home"));
        command.env_remove("no_proxy").env("NO_PROXY", "127.0.0.1").args(arguments);
        command
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.command(arguments).envs(variables.iter().copied()).output().unwrap()
    }

    /// Runs it, which must succeed, and gives its stdout and stderr.
    fn succeed(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (String, String) {
        let output = self.run(arguments, variables);
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "{arguments:?} failed: {stderr}");
        (stdout, stderr)
    }

    /// Runs it, which must refuse in one line that holds all of `words`.
    fn refuse(&self, arguments: &[&str], variables: &[(&str, &str)], words: &[&str]) -> String {
        let output = self.run(arguments, variables);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{arguments:?}: {word:?} is not in: {stderr}");
        }
        stderr
    }

    /// The arguments that segment with `model`, weights and all.
    fn segment(&self, model: &str) -> Vec<String> {
        let photo = fixture("photos/chelsea.png").to_str().unwrap().to_owned();
        let logits = self.workspace.argument("logits.safetensors");
        ["segment", "--model", model, &photo, "-p", "a cat", "--logits", &logits].map(str::to_owned).to_vec()
    }

    /// Segments with the repository, which must succeed without a word on stderr.
    fn segment_repository(&self) {
        let arguments = self.segment("tiny/model");
        let (_, stderr) = self.succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        assert_eq!(stderr, "");
        self.assert_whole(MAIN);
    }

    /// Fails to segment with the repository.
    fn refuse_segment(&self, variables: &[(&str, &str)], words: &[&str]) -> String {
        let arguments = self.segment("tiny/model");
        self.refuse(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), variables, words)
    }

    /// The cache's folder of the repository.
    fn cache(&self, path: &str) -> PathBuf {
        self.workspace.path("home/hub/models--tiny--model").join(path)
    }

    /// Checks that every file is in the commit's snapshot as the Hub has it, and that nothing is left half
    /// done.
    fn assert_whole(&self, commit: &str) {
        let snapshot = self.cache("snapshots").join(commit);
        for (name, bytes) in &self.server.state().files {
            assert!(fs::read(snapshot.join(name)).unwrap() == *bytes, "{name} is another");
        }
        assert_eq!(self.incomplete(), Vec::<PathBuf>::new());
    }

    /// The downloads that have begun and not ended.
    fn incomplete(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.cache("blobs")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "incomplete")).collect()
    }
}

/// The ranges in which large files were requested, in order.
fn ranges(requests: &[Request]) -> Vec<Option<&str>> {
    let content = requests.iter().filter(|request| request.is_storage && request.method == "GET");
    content.map(|request| request.range.as_deref()).collect()
}

#[test]
fn a_repository_is_downloaded_once_and_segments_as_its_folder_does() {
    let tiny = Tiny::new();
    tiny.segment_repository();
    let logits = tiny.workspace.path("logits.safetensors");
    let from_hub = tensor(&logits, "logits");
    let requests = tiny.server.requests();
    assert_eq!(ranges(&requests), [None]);
    let last = &requests.last().unwrap().path;
    assert!(last.contains("/model.safetensors?X-Amz"), "the weights come last: {last}");

    let folder = tiny.segment(&tiny.workspace.argument("model"));
    tiny.succeed(&folder.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert_eq!(tensor(&logits, "logits"), from_hub);
    assert!(tiny.server.requests().is_empty());

    tiny.segment_repository();
    let requests = tiny.server.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].path, "/api/models/tiny/model/revision/main");
}

#[test]
fn words_and_pixels_need_no_weights() {
    let tiny = Tiny::new();
    let (ids, _) = tiny.succeed(&["tokenize", "--model", "tiny/model", "a cat"], &[]);
    let (expected, _) =
        tiny.succeed(&["tokenize", "--model", &tiny.workspace.argument("model"), "a cat"], &[]);
    assert_eq!(ids, expected);
    let (photo, out) = (fixture("photos/chelsea.png"), tiny.workspace.argument("pixels.safetensors"));
    tiny.succeed(&["preprocess", "--model", "tiny/model", photo.to_str().unwrap(), "--out", &out], &[]);
    let requests = tiny.server.requests();
    assert!(requests.iter().all(|request| !request.path.contains("model.safetensors")), "{requests:?}");
}

/// Errors that do not concern the weights are found before these are downloaded.
#[test]
fn bad_input_downloads_no_weights() {
    let tiny = Tiny::new();
    let model = ["segment", "--model", "tiny/model"];
    let [missing, out] = ["missing.png", "out"].map(|name| tiny.workspace.argument(name));
    tiny.refuse(&[&model[..], &[&missing, "-p", "a cat", "--out", &out]].concat(), &[], &["cannot read"]);
    let arguments = tiny.segment("tiny/model");
    let arguments: Vec<_> =
        arguments.iter().map(String::as_str).chain(["--adapter", "no such card"]).collect();
    tiny.refuse(&arguments, &[], &["no such card"]);
    tiny.server.state().files.insert("config.json".to_owned(), b"{".to_vec());
    tiny.refuse(&["bench", "--model", "tiny/model@other"], &[], &["--model tiny/model@other", "config.json"]);
    assert!(ranges(&tiny.server.requests()).is_empty());
}

#[test]
fn a_revision_is_a_branch_a_reference_or_a_commit() {
    let tiny = Tiny::new();
    for (revision, commit) in [("other", OTHER), ("refs/pr/1", OTHER), (MAIN, MAIN)] {
        let model = format!("tiny/model@{revision}");
        tiny.succeed(&["tokenize", "--model", &model, "a cat"], &[]);
        assert!(tiny.cache("snapshots").join(commit).join("vocab.json").exists(), "{revision}");
        let noted = fs::read_to_string(tiny.cache("refs").join(revision)).ok();
        assert_eq!(noted.as_deref(), (revision != commit).then_some(commit), "{revision}");
    }
}

/// The address is as it is copied from a browser, the name as a shell completes it.
#[test]
fn a_repository_is_named_by_its_page_too() {
    let tiny = Tiny::new();
    let (expected, _) = tiny.succeed(&["tokenize", "--model", "tiny/model", "a cat"], &[]);
    for (model, commit) in [
        ("tiny/model/".to_owned(), MAIN),
        ("https://huggingface.co/tiny/model".to_owned(), MAIN),
        ("https://hf.co/tiny/model/tree/refs%2Fpr%2F1".to_owned(), OTHER),
        (format!("{}/tiny/model/tree/other/", tiny.server.endpoint), OTHER),
    ] {
        let (ids, _) = tiny.succeed(&["tokenize", "--model", &model, "a cat"], &[]);
        assert_eq!(ids, expected, "{model}");
        assert!(tiny.cache("snapshots").join(commit).join("vocab.json").exists(), "{model}");
    }
}

/// When the Hub asks the command to wait, a warning says so, as a log shows no bar.
#[test]
fn a_wait_that_the_hub_asks_for_is_told() {
    let tiny = Tiny::new();
    let mut left = 1;
    tiny.server.alter(move |request, reply| {
        if request.is_listing() && left > 0 {
            left -= 1;
            *reply = Reply::new(429, "").with("RateLimit", "\"api\";r=0;t=0");
        }
    });
    let (_, stderr) = tiny.succeed(&["tokenize", "--model", "tiny/model", "a cat"], &[]);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for word in ["warning: tiny/model", "429", "asks to wait", "again in 1 s"] {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
}

/// Nothing listens at the proxy's address.
#[test]
fn hosts_in_no_proxy_are_reached_without_the_proxy() {
    let tiny = Tiny::new();
    let proxy = ("ALL_PROXY", "http://127.0.0.1:1");
    let tokenize = ["tokenize", "--model", "tiny/model", "a cat"];
    tiny.refuse(&tokenize, &[proxy, ("NO_PROXY", "10.0.0.0/8")], &["cannot reach", "NO_PROXY"]);
    assert!(tiny.server.requests().is_empty());
    let port = tiny.server.endpoint.rsplit(':').next().unwrap();
    for list in ["10.0.0.0/8, 127.0.0.0/8", &format!("localhost,127.0.0.1:{port}")] {
        tiny.succeed(&tokenize, &[proxy, ("NO_PROXY", list)]);
    }
}

#[test]
fn shards_are_downloaded_with_their_index() {
    let workspace = Workspace::tiny();
    fs::remove_file(workspace.path("model/model.safetensors")).unwrap();
    // Its vocabulary has 270 tokens, the last of which begin and end a text.
    workspace.edit("model/vocab.json", "598", "268");
    workspace.edit("model/vocab.json", "599", "269");
    for entry in fs::read_dir(fixture("models/tiny-sharded")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), workspace.path("model").join(entry.file_name())).unwrap();
        }
    }
    let tiny = Tiny::serving(workspace);
    tiny.segment_repository();
    assert_eq!(ranges(&tiny.server.requests()), [None; 5]);
}

#[test]
fn files_of_pytorch_are_converted_from_the_hub() {
    let workspace = Workspace::tiny();
    fs::remove_file(workspace.path("model/model.safetensors")).unwrap();
    for name in ["config.json", "pytorch_model.bin"] {
        fs::copy(fixture("convert/hub").join(name), workspace.path("model").join(name)).unwrap();
    }
    let tiny = Tiny::serving(workspace);
    tiny.refuse_segment(&[], &["tiny/model", "pytorch_model.bin", "clipseg convert tiny/model --out"]);
    assert!(ranges(&tiny.server.requests()).is_empty());

    let out = tiny.workspace.argument("converted");
    let (stdout, _) = tiny.succeed(&["convert", "tiny/model", "--out", &out], &[]);
    assert!(stdout.contains("model.safetensors"), "{stdout}");
    tiny.assert_whole(MAIN);
    tiny.refuse(
        &["convert", "tiny/none", "--out", &out],
        &[],
        &["tiny/none: there is no such folder", "401", "none of this name"],
    );
}

#[test]
fn the_token_is_sent_to_the_endpoint_alone() {
    let tiny = Tiny::new();
    tiny.server.state().token = Some("Bearer hf_secret".to_owned());
    let stderr = tiny.refuse_segment(&[], &["HF_TOKEN", "private or gated", "401", &tiny.server.endpoint]);
    assert!(stderr.contains("Invalid username or password"), "{stderr}");
    let stderr =
        tiny.refuse_segment(&[("HF_TOKEN", "hf_other_secret")], &["HF_TOKEN", "the token that was sent"]);
    assert!(!stderr.contains("secret"), "{stderr}");
    tiny.server.requests();

    // As `hf auth login` leaves it.
    fs::create_dir_all(tiny.workspace.path("home")).unwrap();
    tiny.workspace.write("home/token", b"hf_secret\n");
    tiny.segment_repository();
    let requests = tiny.server.requests();
    assert!(requests.iter().any(|request| request.is_storage));
    for request in requests {
        assert_eq!(request.authorization.is_some(), !request.is_storage, "{request:?}");
    }
}
