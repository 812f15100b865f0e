//! The answers of the Hub and of its storage.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{MAIN, OTHER, Reply, Request, State, git_sha1, hex, is_large};

/// Path of the files on the storage.
const STORAGE: &str = "/xet-bridge-us/";
/// End of a signed address.
const SIGNATURE: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=3600&X-Amz-Signature=5ec4e7";
/// Path to which requests for small files are redirected.
const WITHIN: &str = "/api/resolve-cache/models/tiny/model/";

impl State {
    pub(crate) fn reply(&mut self, request: &Request) -> Reply {
        if let Some(status) = self.status {
            return refuse(status, None, "out of order");
        }
        let (path, _query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if request.is_storage {
            return self.stored(request, path);
        }
        let is_right = self.token.is_none() || request.authorization == self.token;
        let is_known = path.starts_with("/api/models/tiny/model") || path.starts_with("/tiny/model/");
        if !is_right || !is_known && !path.starts_with(WITHIN) {
            // To those who may not see a repository, it looks the same as one that does not exist.
            return match request.authorization {
                Some(_) if is_right => refuse(404, Some("RepoNotFound"), "Repository not found"),
                _ => refuse(401, None, "Invalid username or password."),
            };
        }
        if let Some(rest) = path.strip_prefix("/api/models/tiny/model") {
            return self.api(rest);
        }
        if let Some((commit, name)) = path.strip_prefix(WITHIN).and_then(|rest| rest.split_once('/')) {
            let reply = self.send(&self.files[name].clone(), request);
            return reply
                .with("ETag", format!("\"{}\"", self.etag(name)))
                .with("X-Repo-Commit", commit)
                .with("Content-Disposition", format!("inline; filename=\"{name}\";"));
        }
        self.resolve(path)
    }

    /// Lists the files at a revision: only their names, or as a tree with sizes.
    fn api(&self, rest: &str) -> Reply {
        if let Some(revision) = rest.strip_prefix("/tree/") {
            let Some(_) = commit(revision) else { return no_revision(revision) };
            let files = self.files.iter().map(|(name, bytes)| {
                let mut file =
                    json!({ "type": "file", "path": name, "size": bytes.len(), "oid": git_sha1(bytes) });
                if is_large(name) {
                    file["lfs"] = json!({ "oid": self.etag(name), "size": bytes.len(), "pointerSize": 134 });
                }
                file
            });
            return json_reply(&files.collect::<Vec<_>>().into());
        }
        let revision = rest.strip_prefix("/revision/").unwrap_or("main");
        let Some(commit) = commit(revision) else { return no_revision(revision) };
        let names: Vec<_> = self.files.keys().map(|name| json!({ "rfilename": name })).collect();
        json_reply(&json!({ "id": "tiny/model", "modelId": "tiny/model", "sha": commit, "siblings": names }))
    }

    /// The redirect that answers a request for a file.
    fn resolve(&self, path: &str) -> Reply {
        let Some((revision, name)) =
            path.strip_prefix("/tiny/model/resolve/").and_then(|rest| rest.split_once('/'))
        else {
            return refuse(404, None, "Not Found");
        };
        let Some(commit) = commit(revision) else { return no_revision(revision) };
        let Some(bytes) = self.files.get(name) else {
            return refuse(404, Some("EntryNotFound"), "Entry not found").with("X-Repo-Commit", commit);
        };
        let etag = self.etag(name);
        let reply = |status, words, location: String| {
            Reply::new(status, format!("{words}. Redirecting to {location}"))
                .with("Location", location)
                .with("X-Repo-Commit", commit)
                .with("Accept-Ranges", "bytes")
                .with("X-Linked-ETag", format!("\"{etag}\""))
        };
        if is_large(name) {
            let location = format!("{}{STORAGE}{name}?{SIGNATURE}", self.storage);
            let route = format!("</api/models/tiny/model/xet-read-token/{commit}>; rel=\"xet-auth\"");
            reply(302, "Found", location)
                .with("X-Linked-Size", bytes.len().to_string())
                .with("X-Xet-Hash", hex(&Sha256::digest(etag.as_bytes())))
                .with("Link", route)
        } else {
            let location = format!("{WITHIN}{commit}/{name}?%2Ftiny%2Fmodel%2F{name}=&etag=%22{etag}%22");
            reply(307, "Temporary Redirect", location)
        }
    }

    /// A large file, for clients that have its signed address.
    fn stored(&mut self, request: &Request, path: &str) -> Reply {
        let name = path.trim_start_matches(STORAGE).to_owned();
        if !request.path.ends_with(SIGNATURE) {
            return Reply::new(
                403,
                "<Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>",
            );
        }
        let mut reply = self.send(&self.files[&name].clone(), request);
        if request.method == "GET" && !self.cuts.is_empty() {
            reply.hangs = self.hangs;
            reply.cut = Some(self.cuts.remove(0));
        }
        // The storage knows only its own hash, which is as long as a SHA-256.
        reply.with("ETag", format!("\"{}\"", hex(&Sha256::digest(self.etag(&name).as_bytes()))))
    }

    /// A file, or its bytes from some position on.
    fn send(&self, bytes: &[u8], request: &Request) -> Reply {
        let start = request.range.as_deref().filter(|_| !self.ignores_ranges);
        let Some(range) = start.and_then(|range| range.strip_prefix("bytes=")) else {
            return Reply::new(200, bytes).with("Accept-Ranges", "bytes");
        };
        let start: usize = range.split('-').next().unwrap().parse().unwrap();
        let all = bytes.len();
        if start >= all {
            return Reply::new(416, "").with("Content-Range", format!("bytes */{all}"));
        }
        Reply::new(206, &bytes[start..])
            .with("Content-Range", format!("bytes {start}-{}/{all}", all - 1))
            .with("Accept-Ranges", "bytes")
    }
}

/// tiny/model has the branches main and other; both are also known by their commit.
fn commit(revision: &str) -> Option<&'static str> {
    match revision {
        "main" | MAIN => Some(MAIN),
        "other" | "refs%2Fpr%2F1" | OTHER => Some(OTHER),
        _ => None,
    }
}

fn no_revision(revision: &str) -> Reply {
    refuse(404, Some("RevisionNotFound"), &format!("Invalid rev id: {revision}"))
}

fn refuse(status: u16, code: Option<&str>, message: &str) -> Reply {
    let reply = Reply::new(status, json!({ "error": message }).to_string());
    let reply = reply.with("X-Error-Message", message);
    code.into_iter().fold(reply, |reply, code| reply.with("X-Error-Code", code))
}

fn json_reply(value: &serde_json::Value) -> Reply {
    Reply::new(200, value.to_string()).with("Content-Type", "application/json; charset=utf-8")
}
