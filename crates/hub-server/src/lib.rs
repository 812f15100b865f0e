//! A Hugging Face Hub on loopback, for tests. It has one repository, gives the answers that were recorded
//! from the Hub in 2026, and can imitate what goes wrong on the way.
//!
//! Small files are kept in Git: a request is redirected within the Hub (307, a relative `Location`, Git's
//! SHA-1 as `X-Linked-ETag`, no size but that of the redirect's own body). Large files are on another host: a
//! request is redirected there (302, a signed address), with the size and the SHA-256 in the redirect, while
//! the storage's own `ETag` is another hash. A test of `clipseg-hub` checks that Python's `huggingface_hub`
//! can download from this server.

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

/// The commit that the branch `main` points to.
pub const MAIN: &str = "1111111111111111111111111111111111111111";
/// The commit that the branch `other` and the reference `refs/pr/1` point to.
pub const OTHER: &str = "2222222222222222222222222222222222222222";

/// The server; its threads run until the test process ends.
pub struct HubServer {
    /// `http://127.0.0.1:PORT`, for `HF_ENDPOINT`.
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

/// Alters an answer before it is sent.
pub type Hook = Box<dyn FnMut(&Request, &mut Reply) + Send>;

/// The contents of the server, its faults, and the requests that it got.
pub struct State {
    /// The origin to which large files are redirected.
    pub storage: String,
    /// The repository's files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The `Authorization` that a request must have to be answered at all.
    pub token: Option<String>,
    /// For the next requests of a large file, the number of bytes after which the connection is cut.
    pub cuts: Vec<usize>,
    /// Instead of being cut, the connection falls silent.
    pub hangs: bool,
    /// The whole file is sent, whatever range is asked for.
    pub ignores_ranges: bool,
    /// The announced checksum of a large file is wrong.
    pub lies: bool,
    /// Everything is answered with this status.
    pub status: Option<u16>,
    /// Alters each answer.
    pub hook: Option<Hook>,
    /// The requests so far.
    pub requests: Vec<Request>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whether it was sent to the storage of large files instead of the endpoint.
    pub is_storage: bool,
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path and query.
    pub path: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The header `Range`.
    pub range: Option<String>,
}

impl Request {
    /// Whether this asks for the list of the repository's files.
    pub fn is_listing(&self) -> bool {
        self.path.starts_with("/api/models/")
    }
}

/// An answer to be sent.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body, which is sent for a `GET`.
    pub body: Vec<u8>,
    /// The body and the connection end after this many bytes.
    pub cut: Option<usize>,
    /// The connection stays open after the body, but silent.
    pub hangs: bool,
    /// The body is sent byte by byte, with this pause after each.
    pub drips: Option<Duration>,
    /// The body is sent in chunks, without its length.
    pub is_chunked: bool,
}

impl Reply {
    /// An answer with a `Content-Length`.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = vec![("Content-Length".to_owned(), body.len().to_string())];
        Self { status, headers, body, ..Self::default() }
    }

    /// Adds a header.
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

    /// Removes a header.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
    }

    /// Replaces all headers of this name.
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
                    // A client that hangs up midway does not concern the server.
                    thread::spawn(move || drop(connection::answer(&stream.unwrap(), &state, is_storage)));
                }
            });
        }
        Self { endpoint, state }
    }

    /// The server's contents and faults, to be changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Alters every answer from now on.
    pub fn alter(&self, hook: impl FnMut(&Request, &mut Reply) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// Stops altering answers.
    pub fn mend(&self) {
        self.state().hook = None;
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }
}

impl State {
    /// The ETag of a file without its quotes, which is its name among the cache's blobs: the SHA-256 of a
    /// large file, Git's SHA-1 of any other.
    pub fn etag(&self, name: &str) -> String {
        let bytes = if self.lies && is_large(name) { b"another file" } else { self.files[name].as_slice() };
        if is_large(name) { hex(&Sha256::digest(bytes)) } else { git_sha1(bytes) }
    }
}

/// Git's SHA-1 of a file with this content.
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
