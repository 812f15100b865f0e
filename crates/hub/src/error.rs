//! Errors between a repository's name and its files in the cache.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each message names the repository, file, address or variable, says what is wrong with it and what to do
/// next. None holds a token, a password or a signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The progress callback cancelled the download.
    #[error("the download was cancelled; the next one goes on from what has arrived")]
    Cancelled,

    /// A text that does not name a repository.
    #[error(
        "{given:?} names no repository of the Hub: {reason}; write owner/name, owner/name@revision or the address of its page"
    )]
    Name {
        /// The text.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A variable of the environment, or a file it names, that cannot be used.
    #[error("{variable}: {message}")]
    Setting {
        /// The variable or file.
        variable: String,
        /// What is wrong and what is legal.
        message: String,
    },

    /// The Hub shows this repository to nobody, or only to some (401, 403), and does not say which.
    #[error("{url} was refused ({status}{}): {}", said(.server_message), refusal(*.with_token))]
    Denied {
        /// The address that was asked for.
        url: String,
        /// The status of the answer.
        status: u16,
        /// The Hub's own words.
        server_message: Option<String>,
        /// Whether a token was sent.
        with_token: bool,
    },

    /// What answers at the endpoint refuses the user and password in its address (401, 403).
    #[error(
        "{url} was refused ({status}{}): the user and password in HF_ENDPOINT were refused; check both, and write \
         characters such as @, : and / in them as %40, %3A and %2F",
        said(.server_message)
    )]
    Password {
        /// The address that was asked for.
        url: String,
        /// The status of the answer.
        status: u16,
        /// The answer's own words.
        server_message: Option<String>,
    },

    /// The repository is gated: its owner admits only users who accept conditions.
    #[error("{url} was refused ({status}{}): the repository is gated; {}", said(.server_message), admission(*.with_token))]
    Gated {
        /// The address that was asked for.
        url: String,
        /// The status of the answer.
        status: u16,
        /// The Hub's own words.
        server_message: Option<String>,
        /// Whether a token was sent.
        with_token: bool,
    },

    /// The Hub has no such repository, revision or file.
    #[error(
        "the Hub has no {what}: {url} is not found ({status}{}); check owner, name and revision{}",
        said(.server_message),
        if *.with_token { "" } else { ", and set HF_TOKEN if the repository is private" }
    )]
    NotFound {
        /// The repository, revision or file.
        what: String,
        /// The address that was asked for.
        url: String,
        /// The status of the answer.
        status: u16,
        /// The Hub's own words.
        server_message: Option<String>,
        /// Whether a token was sent.
        with_token: bool,
    },

    /// The Hub's storage host refused a large file, for instance because a signed address had expired, and
    /// refused a new address too.
    #[error(
        "{host}, where the Hub keeps {file}, refused it ({status}), also with a new address from the Hub; run this \
         again later, and check the clock and any proxy in between"
    )]
    Storage {
        /// The file.
        file: String,
        /// The host that refused.
        host: String,
        /// The status of the answer.
        status: u16,
    },

    /// The Hub answered with another failure, for instance because it is overloaded.
    #[error("{url} failed ({status}{}); {}", said(.server_message), later(*.retry_after))]
    Status {
        /// The address that was asked for.
        url: String,
        /// The status of the answer.
        status: u16,
        /// The Hub's own words.
        server_message: Option<String>,
        /// How long the Hub asks to wait before the next request.
        retry_after: Option<Duration>,
    },

    /// A small answer took too long.
    #[error("{url} sends too slowly: {bytes} bytes in {} s; try again later", took.as_secs_f32().round())]
    Slow {
        /// The address that was asked for.
        url: String,
        /// Bytes that arrived.
        bytes: u64,
        /// The time they took.
        took: Duration,
    },

    /// There was no answer, or the connection broke.
    #[error(
        "cannot reach {url}: {reason}; check the connection, HF_ENDPOINT, HTTPS_PROXY, HTTP_PROXY and NO_PROXY, set HF_HUB_OFFLINE=1 to use what \
         the cache has, or give a folder"
    )]
    Network {
        /// The address that was asked for.
        url: String,
        /// The system's reason.
        reason: String,
    },

    /// The answer is not one that a Hub gives.
    #[error("{url} answers as no Hub does: {message}; check HF_ENDPOINT and any proxy in between")]
    Answer {
        /// The address that was asked for.
        url: String,
        /// What is wrong with the answer.
        message: String,
    },

    /// A download was interrupted again and again.
    #[error(
        "{file} broke off after {done} of {} bytes, {attempts} times in a row: {reason}; run this again when the \
         connection is better, it goes on from there",
        total.map_or_else(|| "an unknown number of".to_owned(), |total| total.to_string())
    )]
    Broken {
        /// The file.
        file: String,
        /// Bytes in the cache.
        done: u64,
        /// Bytes of the whole file, if the Hub states them.
        total: Option<u64>,
        /// How many times in a row it was interrupted there.
        attempts: usize,
        /// The reason for the last interruption.
        reason: String,
    },

    /// A complete download differs from what the Hub announced.
    #[error("{file} arrived damaged: its {kind} is {found}, the Hub announced {expected}; run this again")]
    Damaged {
        /// The file.
        file: String,
        /// The kind of checksum: SHA-256 of a large file, Git's SHA-1 of a small one.
        kind: &'static str,
        /// The announced checksum.
        expected: String,
        /// The checksum of what arrived.
        found: String,
    },

    /// Something is not in the cache, and the Hub may not be asked or does not answer.
    #[error("{missing} of {repository} is not in the cache (looked in {}), and {why}", looked_in.display())]
    NotCached {
        /// What is missing.
        missing: String,
        /// The repository.
        repository: String,
        /// The folder in the cache where it would be.
        looked_in: PathBuf,
        /// Why it is not downloaded, and what to do.
        why: String,
    },

    /// A repository has no checkpoint, or files that do not belong to one.
    #[error("{repository} {message}")]
    Repository {
        /// The repository, or its file.
        repository: String,
        /// What is wrong and what to do.
        message: String,
    },

    /// A file of the cache cannot be read or written.
    #[error("{}: {source}; HF_HOME or HF_HUB_CACHE chooses another folder for the cache", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// A failure in the cache at `path`.
    pub(crate) fn cache(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Cache { path, source }
    }

    /// An answer that is not one of a Hub.
    pub(crate) fn answer(url: &str, message: impl Into<String>) -> Self {
        Self::Answer { url: url.to_owned(), message: message.into() }
    }

    /// The failure in short, for the message that it is retried.
    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::Network { reason, .. } => format!("the connection broke ({reason})"),
            Self::Storage { host, status, .. } => format!("{host} refused it ({status})"),
            Self::Status { status: 429, .. } => "the Hub has too many requests (429)".to_owned(),
            Self::Status { status, .. } => format!("the Hub failed ({status})"),
            other => other.to_string(),
        }
    }

    /// Whether the cache may be used instead: the Hub did not say that the repository is missing or not for
    /// us.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Slow { .. } | Self::Answer { .. } => true,
            Self::Status { status, .. } => *status >= 500 || [408, 429].contains(status),
            _ => false,
        }
    }
}

fn refusal(with_token: bool) -> &'static str {
    if with_token {
        "the repository is private or gated and the token that was sent (HF_TOKEN, or that of `hf auth login`) may not \
         read it or has expired, or there is no such repository; check the name, or use a token that may"
    } else {
        "the repository is private or gated, or there is none of this name; check the name, or set HF_TOKEN to a token \
         that may read it (huggingface.co/settings/tokens)"
    }
}

fn admission(with_token: bool) -> &'static str {
    if with_token {
        "the account of the token that was sent (HF_TOKEN, or that of `hf auth login`) has not been let in: accept the \
         conditions on the repository's page, and wait where its owner decides"
    } else {
        "accept the conditions on its page with your account, then set HF_TOKEN to a token of that account \
         (huggingface.co/settings/tokens)"
    }
}

/// A server's own words, after what came before them.
fn said(message: &Option<String>) -> String {
    message.as_ref().map_or_else(String::new, |message| format!(", {message:?}"))
}

fn later(wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => format!("it asks to wait {} s, so try again then", wait.as_secs()),
        None => "try again later".to_owned(),
    }
}
