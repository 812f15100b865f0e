//! Requests to the Hub.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::settings::{Settings, Token};

/// How long a connection may take to be made, and to bring the next bytes.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// Talks to one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<Token>,
}

/// The files of a repository at a commit.
#[derive(Debug)]
pub(crate) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

/// What the Hub says of a file before sending it.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// The file's name among the cache's blobs; of large files the SHA-256.
    pub etag: String,
    pub size: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Head,
    /// From this byte on.
    Get(u64),
}

impl Client {
    pub fn new(settings: &Settings) -> Self {
        // The system's certificates: where HF_ENDPOINT is a company's mirror, they know its authority.
        let certificates = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent = Agent::config_builder()
            .tls_config(certificates)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("clipseg/", env!("CARGO_PKG_VERSION")))
            // Sizes and ranges are those of the file, not of something packed.
            .accept_encoding("identity")
            .build()
            .new_agent();
        Self { agent, endpoint: settings.endpoint.clone(), token: settings.token.clone() }
    }

    /// What the repository holds at its revision.
    pub fn listing(&self, repository: &Repository) -> Result<Listing> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let revision = escape(repository.revision());
        let url = format!("{}/api/models/{}/revision/{revision}", self.endpoint, repository.name());
        let mut response = self.send(Method::Get(0), &url)?;
        self.check(&response, &url, || format!("repository or revision {repository}"))?;
        let text = response.body_mut().read_to_string().map_err(|error| network(&url, &error))?;
        let answer: Answer =
            serde_json::from_str(&text).map_err(|error| Error::answer(&url, error.to_string()))?;
        if !is_plain(&answer.sha) {
            return Err(Error::answer(&url, format!("the commit is {:?}", answer.sha)));
        }
        let files = answer.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        Ok(Listing { commit: answer.sha, files })
    }

    /// The address of a file.
    pub fn file_url(&self, repository: &Repository, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{file}", self.endpoint, repository.name())
    }

    /// Asks for a file's name in the cache and its size.
    pub fn metadata(&self, url: &str, file: &str) -> Result<Metadata> {
        let response = self.send(Method::Head, url)?;
        if !response.status().is_redirection() {
            self.check(&response, url, || file.to_owned())?;
        }
        let headers = response.headers();
        let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        let size = header(headers, "x-linked-size").or_else(|| header(headers, "content-length"));
        let (Some(etag), Some(size)) = (etag, size.and_then(|size| size.parse().ok())) else {
            return Err(Error::answer(url, "ETag or size are not among its headers"));
        };
        // It becomes a file's name.
        if !is_plain(etag) {
            return Err(Error::answer(url, format!("the ETag is {etag:?}")));
        }
        Ok(Metadata { etag: etag.to_owned(), size })
    }

    /// Begins to fetch a file from the byte `start` on. The answer may be 200, the whole, all the same.
    pub fn content(&self, url: &str, file: &str, start: u64) -> Result<Response<Body>> {
        let response = self.send(Method::Get(start), url)?;
        self.check(&response, url, || file.to_owned())?;
        Ok(response)
    }

    /// Sends a request and follows redirects.
    ///
    /// ureq would follow them, but drops the token even on the way to the same host unless that is encrypted, and lets
    /// nobody see the headers in between: a file's ETag and size stand on the redirect that leaves the Hub.
    fn send(&self, method: Method, url: &str) -> Result<Response<Body>> {
        let mut target = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = match method {
                Method::Head => self.agent.head(&target),
                Method::Get(_) => self.agent.get(&target),
            };
            if let Method::Get(start @ 1..) = method {
                request = request.header("Range", format!("bytes={start}-"));
            }
            // Whoever else serves the file is not told the token; the address that is sent to has a signature of its own.
            if let Some(token) = &self.token
                && origin(&target) == origin(&self.endpoint)
            {
                request = request.header("Authorization", token.bearer());
            }
            let response = request.call().map_err(|error| network(&target, &error))?;
            let headers = response.headers();
            let is_described = method == Method::Head && headers.contains_key("x-linked-etag");
            match header(headers, "location") {
                Some(location) if response.status().is_redirection() && !is_described => {
                    target = resolve(&target, location).ok_or_else(|| {
                        Error::answer(url, format!("it redirects to {location:?}, which is no address"))
                    })?;
                }
                _ => return Ok(response),
            }
        }
        Err(Error::answer(url, format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// Turns a refusal into its error; `what` was asked for.
    fn check(&self, response: &Response<Body>, url: &str, what: impl FnOnce() -> String) -> Result<()> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let url = url.to_owned();
        let told = header(response.headers(), "x-error-message")
            .map_or_else(String::new, |message| format!(", {message:?}"));
        Err(match status.as_u16() {
            status @ (401 | 403) => Error::Denied { url, status, told, with_token: self.token.is_some() },
            404 => Error::NotFound { what: what(), url, told },
            status => Error::Status { url, status, told },
        })
    }
}

/// Whether a name may be a file's in the cache: nothing in it leads elsewhere.
pub(crate) fn is_plain(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(is_legal)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn network(url: &str, error: &ureq::Error) -> Error {
    Error::Network { url: url.to_owned(), reason: error.to_string() }
}

/// A revision within an address; what else would need it is not legal in one.
fn escape(revision: &str) -> String {
    revision.replace('/', "%2F")
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_owned()))
}

/// Where a redirect leads from `base`.
fn resolve(base: &str, location: &str) -> Option<String> {
    if location.starts_with('/') && !location.starts_with("//") {
        let (scheme, authority) = origin(base)?;
        return Some(format!("{scheme}://{authority}{location}"));
    }
    let (scheme, _) = origin(location)?;
    ["http", "https"].contains(&scheme.as_str()).then(|| location.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved_and_origins_told_apart() {
        let base = "https://hub.example:8443/a/b/resolve/main/c";
        assert_eq!(resolve(base, "/api/x?y=1").unwrap(), "https://hub.example:8443/api/x?y=1");
        assert_eq!(resolve(base, "http://cdn.example/x").unwrap(), "http://cdn.example/x");
        assert_eq!(resolve(base, "file:///etc/passwd"), None);
        assert_eq!(resolve(base, "//cdn.example/x"), None);
        assert_eq!(origin(base), origin("https://hub.example:8443"));
        for other in ["https://hub.example", "http://hub.example:8443", "https://hub.example.org:8443"] {
            assert_ne!(origin(base), origin(other), "{other}");
        }
    }

    #[test]
    fn names_from_the_server_stay_in_their_folder() {
        assert!(is_plain("model-00001-of-00005.safetensors"));
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a b", "C:x"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
