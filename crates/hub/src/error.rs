//! What can go wrong between a repository's name and its files in the cache.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each message names the repository, file, address or variable, says what is wrong with it and what to do next. None
/// holds a token, a password or a signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Whoever heard of the progress broke off.
    #[error("the download was cancelled; the next one goes on from what has arrived")]
    Cancelled,

    /// A text that names no repository.
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

    /// The Hub does not show this repository, or not to everybody (401, 403), and does not say which.
    #[error("{url} was refused ({status}{told}): {}", refusal(*.with_token))]
    Denied {
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
        /// The Hub's own words, after a comma; or nothing.
        told: String,
        /// Whether a token was sent.
        with_token: bool,
    },

    /// The repository is gated: its owner lets in who accepts conditions.
    #[error("{url} was refused ({status}{told}): the repository is gated; {}", admission(*.with_token))]
    Gated {
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
        /// The Hub's own words, after a comma; or nothing.
        told: String,
        /// Whether a token was sent.
        with_token: bool,
    },

    /// The Hub has no such repository, revision or file.
    #[error(
        "the Hub has no {what}: {url} is not found ({status}{told}); check owner, name and revision{}",
        if *.with_token { "" } else { ", and set HF_TOKEN if the repository is private" }
    )]
    NotFound {
        /// The repository, revision or file.
        what: String,
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
        /// The Hub's own words, after a comma; or nothing.
        told: String,
        /// Whether a token was sent.
        with_token: bool,
    },

    /// The host that the Hub keeps large files on refused one, as when a signed address has expired, and did so again
    /// with a new address.
    #[error(
        "{host}, where the Hub keeps {file}, refused it ({status}), also with a new address from the Hub; run this \
         again later, and check the clock and any proxy in between"
    )]
    Storage {
        /// The file.
        file: String,
        /// The host that refused.
        host: String,
        /// The answer's status.
        status: u16,
    },

    /// The Hub answered with another failure, as when it is overloaded.
    #[error("{url} failed ({status}{told}); {}", later(*.wait))]
    Status {
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
        /// The Hub's own words, after a comma; or nothing.
        told: String,
        /// How long the Hub asks to wait before asking again.
        wait: Option<Duration>,
    },

    /// A small answer that takes too long.
    #[error("{url} sends too slowly: {bytes} bytes in {} s; try again later", took.as_secs_f32().round())]
    Slow {
        /// What was asked for.
        url: String,
        /// Bytes that arrived.
        bytes: u64,
        /// The time they took.
        took: Duration,
    },

    /// No answer at all.
    #[error(
        "cannot reach {url}: {reason}; check the connection, HF_ENDPOINT and HTTPS_PROXY, set HF_HUB_OFFLINE=1 to use what \
         the cache has, or give a folder"
    )]
    Network {
        /// What was asked for.
        url: String,
        /// The system's reason.
        reason: String,
    },

    /// An answer that no Hub gives.
    #[error("{url} answers as no Hub does: {message}; check HF_ENDPOINT and any proxy in between")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        message: String,
    },

    /// A download that broke off, again and again.
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
        /// Bytes of the whole file, where the Hub says so.
        total: Option<u64>,
        /// How often in a row it broke off there.
        attempts: usize,
        /// What ended the last one.
        reason: String,
    },

    /// A download that is whole and not what the Hub announced.
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

    /// Not in the cache, and the Hub may not be asked or does not answer.
    #[error("{missing} of {repository} is not in the cache (looked in {}), and {why}", looked_in.display())]
    NotCached {
        /// What is missing.
        missing: String,
        /// The repository.
        repository: String,
        /// Where the cache would have it.
        looked_in: PathBuf,
        /// Why it is not fetched, and what to do.
        why: String,
    },

    /// A repository without a checkpoint's files, or with files that are none.
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

    /// An answer that no Hub gives.
    pub(crate) fn answer(url: &str, message: impl Into<String>) -> Self {
        Self::Answer { url: url.to_owned(), message: message.into() }
    }

    /// What happened, for a line that says that it is tried again.
    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::Network { reason, .. } => format!("the connection broke ({reason})"),
            Self::Storage { host, status, .. } => format!("{host} refused it ({status})"),
            Self::Status { status: 429, .. } => "the Hub has too many requests (429)".to_owned(),
            Self::Status { status, .. } => format!("the Hub failed ({status})"),
            other => other.to_string(),
        }
    }

    /// Whether what the cache has may do instead: the Hub did not say that there is no such thing, or not for us.
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

fn later(wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => format!("it asks to wait {} s, so try again then", wait.as_secs()),
        None => "try again later".to_owned(),
    }
}
