//! A Hugging Face Hub on loopback, for tests: one repository, answered for as the Hub was recorded to answer
//! in 2026, with what can go wrong on the way.
//!
//! A small file is kept in Git: its request is redirected within the Hub (307, a relative `Location`, the
//! SHA-1 of Git as `X-Linked-ETag`, no size but that of the redirect's own body). A large file lies on
//! another host: its request is redirected there (302, a signed address), with the size and the SHA-256 on
//! the redirect, while the storage's own `ETag` is another hash. Python's `huggingface_hub` downloads from
//! this server; a test of `clipseg-hub` sees to that.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod connection;
mod hub;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commit that the branch `main` is at.
pub const MAIN: &str = "1111111111111111111111111111111111111111";
/// The commit that the branch `other` and the reference `refs/pr/1` are at.
pub const OTHER: &str = "2222222222222222222222222222222222222222";

/// The server; its threads end with the tests' process.
pub struct HubServer {
    /// `http://127.0.0.1:PORT`, for `HF_ENDPOINT`.
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

/// Alters an answer before it is sent.
pub type Hook = Box<dyn FnMut(&Request, &mut Reply) + Send>;

/// What the server has, does wrong, and has been asked.
pub struct State {
    /// Where large files are redirected to: another origin.
    pub storage: String,
    /// The repository's files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What must be sent as `Authorization` to be answered at all.
    pub token: Option<String>,
    /// After how many bytes of a large file the connection is cut, for the next requests.
    pub cuts: Vec<usize>,
    /// It is not cut there, but says nothing more.
    pub hangs: bool,
    /// The whole file is sent, whatever part is asked for.
    pub ignores_ranges: bool,
    /// Another checksum is announced than that of a large file.
    pub lies: bool,
    /// Everything is answered with this status.
    pub status: Option<u16>,
    /// Alters each answer.
    pub hook: Option<Hook>,
    /// The requests that came.
    pub requests: Vec<Request>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whether it came to where large files are, and not to the endpoint.
    pub is_storage: bool,
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path, with what follows a `?`.
    pub path: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The header `Range`.
    pub range: Option<String>,
}

impl Request {
    /// Whether the repository's files are asked for.
    pub fn is_listing(&self) -> bool {
        self.path.starts_with("/api/models/")
    }
}

/// An answer, to be sent.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// What a `GET` is sent.
    pub body: Vec<u8>,
    /// The body ends after so many bytes, and with it the connection.
    pub cut: Option<usize>,
    /// The connection stays open after the body, in silence.
    pub hangs: bool,
    /// The body is sent byte by byte, with such a pause after each.
    pub drips: Option<Duration>,
    /// The body is sent in chunks, without its length.
    pub is_chunked: bool,
}

impl Reply {
    /// A whole answer.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = vec![("Content-Length".to_owned(), body.len().to_string())];
        Self { status, headers, body, ..Self::default() }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Takes a header away.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
    }

    /// Puts a header in place of what there is of its name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.into()));
    }
}

impl HubServer {
    /// Serves these files as `tiny/model`.
    pub fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let [hub, storage] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let endpoint = address(&hub);
        let state = Arc::new(Mutex::new(State {
            storage: address(&storage),
            files,
            token: None,
            cuts: Vec::new(),
            hangs: false,
            ignores_ranges: false,
            lies: false,
            status: None,
            hook: None,
            requests: Vec::new(),
        }));
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let state = Arc::clone(&state);
                    // What hangs up midway is not a concern of the server.
                    thread::spawn(move || drop(connection::answer(&stream.unwrap(), &state, is_storage)));
                }
            });
        }
        Self { endpoint, state }
    }

    /// What the server has and does, to be changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Alters each answer from now on.
    pub fn alter(&self, hook: impl FnMut(&Request, &mut Reply) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// Answers as the Hub does again.
    pub fn mend(&self) {
        self.state().hook = None;
    }

    /// The requests since this was last asked.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }
}

impl State {
    /// The name of a file among the cache's blobs, without the quotes that it is sent in: of large files the
    /// SHA-256, of the others the SHA-1 that Git has for them.
    pub fn etag(&self, name: &str) -> String {
        let bytes = if self.lies && is_large(name) { b"another file" } else { self.files[name].as_slice() };
        if is_large(name) { hex(&Sha256::digest(bytes)) } else { git_sha1(bytes) }
    }
}

/// The SHA-1 that Git has for a file of this content.
pub fn git_sha1(bytes: &[u8]) -> String {
    hex(&Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a file is kept outside Git.
pub fn is_large(name: &str) -> bool {
    [".safetensors", ".bin", ".onnx"].iter().any(|end| name.ends_with(end))
}
