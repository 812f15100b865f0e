//! What can go wrong between a repository's name and its files in the cache.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each message names the repository, file, address or variable, says what is wrong with it and what to do next. None
/// holds the token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that names no repository.
    #[error("{given:?} names no repository of the Hub: {reason}; write owner/name or owner/name@revision")]
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

    /// The Hub does not show this repository, or not to everybody (401, 403).
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

    /// The Hub has no such repository, revision or file (404).
    #[error("the Hub has no {what}: {url} is not found (404{told}); check owner, name and revision")]
    NotFound {
        /// The repository, revision or file.
        what: String,
        /// What was asked for.
        url: String,
        /// The Hub's own words, after a comma; or nothing.
        told: String,
    },

    /// The Hub answered with another failure, as when it is overloaded.
    #[error("{url} failed ({status}{told}); try again later")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
        /// The Hub's own words, after a comma; or nothing.
        told: String,
    },

    /// No answer at all.
    #[error(
        "cannot reach {url}: {reason}; check the connection and HF_ENDPOINT, set HF_HUB_OFFLINE=1 to use what the cache \
         has, or give a folder"
    )]
    Network {
        /// What was asked for.
        url: String,
        /// The system's reason.
        reason: String,
    },

    /// An answer that no Hub gives.
    #[error("{url} answers as no Hub does: {message}; check HF_ENDPOINT")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        message: String,
    },

    /// A download that broke off, again and again.
    #[error(
        "{file} broke off after {done} of {total} bytes, {attempts} times in a row: {reason}; run this again when the \
         connection is better, it goes on from there"
    )]
    Broken {
        /// The file.
        file: String,
        /// Bytes in the cache.
        done: u64,
        /// Bytes of the whole file.
        total: u64,
        /// How often in a row it broke off there.
        attempts: usize,
        /// What ended the last one.
        reason: String,
    },

    /// A download that is whole and not what the Hub announced.
    #[error("{file} arrived damaged: its SHA-256 is {found}, the Hub announced {expected}; run this again")]
    Damaged {
        /// The file.
        file: String,
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

    /// Whether asking again may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Status { status, .. } => *status >= 500 || [408, 429].contains(status),
            _ => false,
        }
    }
}

fn refusal(with_token: bool) -> &'static str {
    if with_token {
        "the repository is private or gated and the token that was sent (HF_TOKEN, or that of `hf auth login`) may not \
         read it, or there is no such repository; accept the conditions on its page, or use a token that may"
    } else {
        "the repository is private or gated, or there is none of this name; set HF_TOKEN to a token that may read it \
         (huggingface.co/settings/tokens) and accept the conditions on its page"
    }
}
