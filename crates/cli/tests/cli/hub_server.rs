//! A Hugging Face Hub on loopback: one repository, served as the Hub serves it, with what can go wrong on the way.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::support::Workspace;

/// Where the branches `main` and `other` are.
pub const MAIN: &str = "1111111111111111111111111111111111111111";
pub const OTHER: &str = "2222222222222222222222222222222222222222";

/// The server; its threads end with the tests' process.
pub struct HubServer {
    /// `http://127.0.0.1:PORT`, for `HF_ENDPOINT`.
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

/// What the server has, does wrong, and has been asked.
pub struct State {
    /// Where large files are redirected to: another origin.
    storage: String,
    pub files: BTreeMap<String, Vec<u8>>,
    /// What must be sent to be answered at all.
    pub token: Option<String>,
    /// After how many bytes of a large file the connection is cut, for the next requests.
    pub cuts: Vec<usize>,
    /// It is not cut there, but says nothing more.
    pub hangs: bool,
    pub ignores_ranges: bool,
    /// Another checksum is announced than that of a large file.
    pub lies: bool,
    /// Everything is answered with this.
    pub status: Option<u16>,
    pub requests: Vec<Request>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whether it came to where large files are, and not to the endpoint.
    pub is_storage: bool,
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
}

impl HubServer {
    /// Serves the files in the workspace's folder `model` as `tiny/model`.
    pub fn start(workspace: &Workspace) -> Self {
        let [hub, storage] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let names = workspace.files("model");
        let files = names.into_iter().map(|name| {
            let bytes = fs::read(workspace.path("model").join(&name)).unwrap();
            (name, bytes)
        });
        let endpoint = address(&hub);
        let state = Arc::new(Mutex::new(State {
            storage: address(&storage),
            files: files.collect(),
            token: None,
            cuts: Vec::new(),
            hangs: false,
            ignores_ranges: false,
            lies: false,
            status: None,
            requests: Vec::new(),
        }));
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let state = Arc::clone(&state);
                    // What hangs up midway is no concern of the server's.
                    thread::spawn(move || drop(answer(&stream.unwrap(), &state, is_storage)));
                }
            });
        }
        Self { endpoint, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The requests since this was last asked.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }
}

/// Answers one request; the connection closes after it.
fn answer(stream: &TcpStream, state: &Mutex<State>, is_storage: bool) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut request = Request { is_storage, method, path, authorization: None, range: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.to_owned()),
            "range" => request.range = Some(value.to_owned()),
            _ => {}
        }
    }
    let (head, body, hangs) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let hangs = request.is_storage && state.hangs && !state.cuts.is_empty();
        let (head, body) = state.reply(&request);
        (head, body, hangs)
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
    if request.method == "GET" {
        stream.write_all(&body)?;
    }
    if hangs {
        thread::sleep(Duration::from_secs(60));
    }
    Ok(())
}

impl State {
    /// Status and headers, and the body.
    fn reply(&mut self, request: &Request) -> (String, Vec<u8>) {
        let refuse = |status: &str, message: &str| {
            (format!("{status}\r\nX-Error-Message: {message}\r\nContent-Length: 0"), Vec::new())
        };
        if let Some(status) = self.status {
            return refuse(&format!("{status} Wrong"), "out of order");
        }
        if request.is_storage {
            let name = request.path.trim_start_matches("/storage/");
            return self.send(&self.files[name].clone(), request, "\"of-the-storage\"");
        }
        if self.token.is_some() && request.authorization != self.token {
            return refuse("401 Unauthorized", "Invalid username or password.");
        }
        // tiny/model has the branches main and other; both are also known by their commit.
        let commit = |revision: &str| match revision {
            "main" | MAIN => Some(MAIN),
            "other" | "refs%2Fpr%2F1" | OTHER => Some(OTHER),
            _ => None,
        };
        if let Some(revision) = request.path.strip_prefix("/api/models/tiny/model/revision/") {
            let Some(commit) = commit(revision) else { return refuse("404 Not Found", "Invalid rev id") };
            let names = self.files.keys().map(|name| serde_json::json!({ "rfilename": name }));
            let names: Vec<_> = names.collect();
            let body =
                serde_json::json!({ "id": "tiny/model", "sha": commit, "siblings": names }).to_string();
            return (format!("200 OK\r\nContent-Length: {}", body.len()), body.into_bytes());
        }
        let within = request.path.strip_prefix("/api/resolve-cache/").and_then(|rest| rest.split_once('/'));
        if let Some((commit, name)) = within {
            let (head, body) = self.send(&self.files[name].clone(), request, &self.etag(name));
            return (format!("{head}\r\nX-Repo-Commit: {commit}"), body);
        }
        let Some((revision, name)) =
            request.path.strip_prefix("/tiny/model/resolve/").and_then(|rest| rest.split_once('/'))
        else {
            return refuse("404 Not Found", "Repository not found");
        };
        let (Some(commit), Some(bytes)) = (commit(revision), self.files.get(name)) else {
            return refuse("404 Not Found", "Entry not found");
        };
        let common =
            format!("X-Repo-Commit: {commit}\r\nAccept-Ranges: bytes\r\nX-Linked-Size: {}", bytes.len());
        let (etag, storage) = (self.etag(name), &self.storage);
        // Large files are elsewhere, some small ones behind a redirect within, the others are sent at once.
        let head = if is_large(name) {
            format!(
                "302 Found\r\n{common}\r\nX-Linked-Etag: {etag}\r\nLocation: {storage}/storage/{name}\r\nContent-Length: 0"
            )
        } else if name == "config.json" {
            format!(
                "307 Temporary Redirect\r\n{common}\r\nLocation: /api/resolve-cache/{commit}/{name}\r\nContent-Length: 0"
            )
        } else {
            let (head, body) = self.send(&bytes.clone(), request, &etag);
            return (format!("{head}\r\nX-Repo-Commit: {commit}"), body);
        };
        (head, Vec::new())
    }

    /// Of large files the SHA-256, of the others, for want of Git's, a part of it.
    pub fn etag(&self, name: &str) -> String {
        let lies = self.lies && is_large(name);
        let bytes = if lies { b"another file" } else { self.files[name].as_slice() };
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\"{}\"", if is_large(name) { &digest } else { &digest[..40] })
    }

    /// A file or its rest, perhaps not to its end.
    fn send(&mut self, bytes: &[u8], request: &Request, etag: &str) -> (String, Vec<u8>) {
        let start = request.range.as_deref().filter(|_| !self.ignores_ranges);
        let start =
            start.map(|range| range["bytes=".len()..].trim_end_matches('-').parse::<usize>().unwrap());
        let mut body = bytes[start.unwrap_or(0)..].to_vec();
        let mut head = format!("Content-Length: {}\r\nETag: {etag}\r\nAccept-Ranges: bytes", body.len());
        if let Some(start) = start {
            let (end, all) = (bytes.len() - 1, bytes.len());
            head = format!("206 Partial Content\r\nContent-Range: bytes {start}-{end}/{all}\r\n{head}");
        } else {
            head = format!("200 OK\r\n{head}");
        }
        if request.is_storage && !self.cuts.is_empty() {
            body.truncate(self.cuts.remove(0));
        }
        (head, body)
    }
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}
