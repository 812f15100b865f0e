//! Requests to the Hub.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::address::{Address, shown};
use crate::checksum::Checksum;
use crate::content::{Content, Kind, MAX_SMALL, header, too_long};
use crate::error::{Error, Result};
use crate::no_proxy;
use crate::repository::Repository;
use crate::retries;
use crate::settings::{self, Limits, Settings, Token};

/// Longest time for opening a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest timeout, a year.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// A client of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    /// Which hosts are reached without the proxy that the environment names.
    no_proxy: String,
    endpoint: Address,
    token: Option<Token>,
    pub limits: Limits,
}

/// The files of a repository at a commit.
#[derive(Debug)]
pub(crate) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

/// What the Hub tells about a file before sending it.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// The file's name among the cache's blobs.
    pub etag: String,
    /// The kind of checksum that the ETag is, if it is one.
    pub checksum: Option<Checksum>,
    pub size: Size,
}

/// The size of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Stated by the Hub.
    Certain(u64),
    /// Stated by another server in between; a size that comes with the content takes precedence.
    Likely(u64),
    Unknown,
}

impl Size {
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::Certain(size) | Self::Likely(size) => Some(size),
            Self::Unknown => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Head,
    /// From this byte on, counted from 0.
    Get(u64),
}

/// A response, and what the redirects on the way to it said.
struct Answer {
    response: Response<Body>,
    /// The address that gave it.
    address: Address,
    linked_etag: Option<String>,
    linked_size: Option<u64>,
    /// Whether the token was sent.
    with_token: bool,
    /// Whether a user and password were sent, those of the endpoint.
    with_password: bool,
}

impl Client {
    pub fn new(settings: &Settings) -> Result<Self> {
        // The system's certificates: if HF_ENDPOINT is a company's mirror, they include the company's
        // authority.
        let certificates = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let limits = settings.limits;
        // It is added to the time of day, which a longer one overflows.
        let read_timeout = Some(limits.read_timeout.min(LONGEST_TIMEOUT));
        let agent = Agent::config_builder()
            .tls_config(certificates)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(read_timeout)
            .timeout_per_read(read_timeout)
            .user_agent(concat!("clipseg/", env!("CARGO_PKG_VERSION")))
            // Sizes and ranges must be those of the file, not of a compressed body.
            .accept_encoding("identity")
            .build()
            .new_agent();
        let endpoint = settings::parse_endpoint(&settings.endpoint)?;
        let no_proxy = no_proxy::from_env();
        Ok(Self { agent, no_proxy, endpoint, token: settings.token.clone(), limits })
    }

    /// Lists the files of the repository at its revision.
    pub fn listing(&self, repository: &Repository) -> Result<Listing> {
        #[derive(Deserialize)]
        struct Listed {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let revision = escape(repository.revision());
        let address = self.endpoint.join(&format!("/api/models/{}/revision/{revision}", repository.name()));
        let url = address.to_string();
        let answer = self.send(Method::Get(0), &address)?;
        self.check(&answer, &address, || format!("repository or revision {repository}"))?;
        let mut content = Content::new(answer.response, &url, Kind::Small, self.limits)?;
        let (mut text, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            match content.read(&mut piece)? {
                0 => break,
                count => text.extend_from_slice(&piece[..count]),
            }
        }
        let listed: Listed =
            serde_json::from_slice(&text).map_err(|error| Error::answer(&url, error.to_string()))?;
        if !is_plain(&listed.sha) {
            return Err(Error::answer(&url, format!("the commit is {:?}", listed.sha)));
        }
        let files = listed.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        Ok(Listing { commit: listed.sha, files })
    }

    /// The address of a file.
    pub fn file_address(&self, repository: &Repository, commit: &str, file: &str) -> Address {
        self.endpoint.join(&format!("/{}/resolve/{commit}/{file}", repository.name()))
    }

    /// Asks for a file's name in the cache and its size.
    pub fn metadata(&self, address: &Address, file: &str, kind: Kind) -> Result<Metadata> {
        let answer = self.send(Method::Head, address)?;
        let is_elsewhere = answer.response.status().is_redirection();
        if !is_elsewhere {
            self.check(&answer, address, || file.to_owned())?;
        }
        let headers = answer.response.headers();
        let etag = answer.linked_etag.as_deref().or_else(|| header(headers, "etag")).map(bare);
        let url = address.to_string();
        let Some(etag) = etag else {
            return Err(Error::answer(&url, "no ETag is among its headers"));
        };
        // The ETag becomes a file name.
        if !is_plain(etag) {
            return Err(Error::answer(&url, format!("the ETag is {etag:?}")));
        }
        // The storage's own ETag is as long as a SHA-256 but is not a checksum of the content.
        let is_the_hubs =
            answer.linked_etag.is_some() || !is_elsewhere && answer.address.is_trusted_by(&self.endpoint);
        let length = header(headers, "content-length").and_then(|length| length.parse().ok());
        let size = match (answer.linked_size, length) {
            (Some(size), _) => Size::Certain(size),
            // The length of a redirect is that of its own body. Some servers that do not know the length
            // say 0.
            (None, Some(length @ 1..)) if !is_elsewhere && !headers.contains_key("content-encoding") => {
                Size::Likely(length)
            }
            _ => Size::Unknown,
        };
        if kind == Kind::Small && size.bytes().is_some_and(|size| size > MAX_SMALL) {
            return Err(too_long(&url));
        }
        Ok(Metadata { etag: etag.to_owned(), checksum: Checksum::of(etag).filter(|_| is_the_hubs), size })
    }

    /// Starts to fetch a file from the byte `start` on. The server may send the whole file nevertheless.
    pub fn content(&self, address: &Address, file: &str, kind: Kind, start: u64) -> Result<Content> {
        let answer = self.send(Method::Get(start), address)?;
        // A range that does not exist is not an error here; the caller then asks for another.
        if answer.response.status() != 416 || start == 0 {
            self.check(&answer, address, || file.to_owned())?;
        }
        Content::new(answer.response, &address.to_string(), kind, self.limits)
    }

    /// Sends a request and follows redirects. A redirect that leaves the Hub in answer to a `HEAD` is not
    /// followed if it describes the file, because the storage does not.
    ///
    /// ureq could follow redirects, but it drops the token even for the same host unless the connection is
    /// encrypted, and it hides the headers in between.
    fn send(&self, method: Method, address: &Address) -> Result<Answer> {
        let mut target = address.clone();
        let (mut linked_etag, mut linked_size) = (None, None);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = match method {
                Method::Head => self.agent.head(target.full()),
                Method::Get(_) => self.agent.get(target.full()),
            };
            let (host, port) = target.host_and_port();
            if no_proxy::bypasses(&self.no_proxy, host, port) {
                request = request.config().proxy(None).build();
            }
            if let Method::Get(start @ 1..) = method {
                request = request.header("Range", format!("bytes={start}-"));
            }
            // The token must not reach other servers of the file; the address that the Hub redirects to has a
            // signature of its own.
            let token =
                self.token.as_ref().filter(|_| target.is_trusted_by(&self.endpoint) && !target.has_user());
            // ureq would send user and password as they stand in the address, encoded.
            let password = target.authorization();
            let with_password = password.is_some();
            if let Some(authorization) = password.or_else(|| token.map(Token::bearer)) {
                request = request.header("Authorization", authorization);
            }
            let response = request.call().map_err(|error| network(&target, &error))?;
            let headers = response.headers();
            linked_etag = linked_etag.or_else(|| header(headers, "x-linked-etag").map(str::to_owned));
            linked_size = linked_size.or_else(|| header(headers, "x-linked-size")?.parse().ok());
            let next = match header(headers, "location") {
                Some(location) if response.status().is_redirection() => {
                    let next = target.follow(location).ok_or_else(|| {
                        let message =
                            format!("it redirects to {:?}, which is not an address", shown(location));
                        Error::answer(&address.to_string(), message)
                    })?;
                    let is_described = linked_etag.is_some() || headers.contains_key("etag");
                    let is_answer = method == Method::Head && is_described && !next.is_trusted_by(&target);
                    (!is_answer).then_some(next)
                }
                _ => None,
            };
            let with_token = token.is_some();
            let Some(next) = next else {
                let address = target;
                return Ok(Answer { response, address, linked_etag, linked_size, with_token, with_password });
            };
            target = next;
        }
        Err(Error::answer(&address.to_string(), format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// Turns an unsuccessful answer into its error. `asked` is the address that was asked for, `what` the
    /// name of the thing there.
    fn check(&self, answer: &Answer, asked: &Address, what: impl FnOnce() -> String) -> Result<()> {
        let status = answer.response.status();
        if status.is_success() {
            return Ok(());
        }
        let headers = answer.response.headers();
        let (code, with_token, url) = (header(headers, "x-error-code"), answer.with_token, asked.to_string());
        let server_message = header(headers, "x-error-message").map(shown);
        let status = status.as_u16();
        let is_the_hubs = code.is_some() || answer.address.is_trusted_by(&self.endpoint);
        Err(match (status, code) {
            (401 | 403, Some("GatedRepo")) => Error::Gated { url, status, server_message, with_token },
            (_, Some("RepoNotFound" | "RevisionNotFound" | "EntryNotFound")) => {
                Error::NotFound { what: what(), url, status, server_message, with_token }
            }
            (400 | 401 | 403 | 404 | 410, _) if !is_the_hubs => {
                Error::Storage { file: what(), host: answer.address.host().to_owned(), status }
            }
            (401 | 403, _) if answer.with_password => Error::Password { url, status, server_message },
            (401 | 403, _) => Error::Denied { url, status, server_message, with_token },
            (404, _) => Error::NotFound { what: what(), url, status, server_message, with_token },
            _ => {
                let url = if is_the_hubs { url } else { answer.address.to_string() };
                let retry_after = retries::announced_wait(headers, SystemTime::now());
                Error::Status { url, status, server_message, retry_after }
            }
        })
    }
}

/// An ETag without its quotes and the `W/` of a weak one.
fn bare(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/").trim_matches('"')
}

/// Whether a name is safe as a file name in the cache: it cannot lead elsewhere.
pub(crate) fn is_plain(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(is_legal)
}

fn network(address: &Address, error: &ureq::Error) -> Error {
    Error::Network { url: address.to_string(), reason: shown(&error.to_string()) }
}

/// A revision as part of an address; no other character that needs escaping is legal in one.
fn escape(revision: &str) -> String {
    revision.replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_server_stay_in_their_folder() {
        assert!(is_plain("model-00001-of-00005.safetensors"));
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a b", "C:x"] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn etags_are_bare_in_the_cache() {
        for etag in ["\"abc\"", "W/\"abc\"", "abc", " \"abc\" "] {
            assert_eq!(bare(etag), "abc");
        }
    }
}
