//! Downloads checkpoints from the [Hugging Face Hub](https://huggingface.co), by the names of their
//! repositories.
//!
//! ```no_run
//! # fn main() -> clipseg_hub::Result<()> {
//! use std::ops::ControlFlow;
//!
//! let folder = clipseg_hub::download("CIDAS/clipseg-rd64-refined", &mut |_| ControlFlow::Continue(()))?;
//! # Ok(())
//! # }
//! ```
//!
//! Files are stored in the cache of Python's `huggingface_hub`, in its layout: each finds what the other has
//! downloaded. Python's environment variables are used too; [`Settings::from_env`] lists them. An interrupted
//! download continues where it stopped, within a run and in the next one. What arrived is checked: large
//! files against the SHA-256 that the Hub announces, small ones against Git's SHA-1. If the Hub has too many
//! requests, downloads wait for as long as it asks.
//!
//! Requests go through `ureq`, with rustls and the system's certificates. The `hf-hub` crate would do more of
//! the work, but version 1.0 brings some 280 crates (tokio, reqwest, xet), restarts an interrupted download
//! over HTTP, does not compare checksums there, and does not know `HF_HUB_OFFLINE`. Version 0.5, the last
//! without tokio, also lacks `HF_TOKEN` and `HF_HUB_CACHE`, sends the token to any host that it is redirected
//! to, and appends the whole file to a part if a server ignores ranges.

mod address;
mod cache;
mod checksum;
mod client;
mod content;
mod download;
mod error;
mod expansion;
mod no_proxy;
mod partial;
mod repository;
mod retries;
mod settings;
mod snapshot;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

pub use address::shown;
pub use clipseg_files::Form as Weights;
pub use error::{Error, Result};
pub use repository::Repository;
pub use settings::{Limits, Settings, Token};
pub use snapshot::Snapshot;

/// What happens during a download. The callback cancels it by returning [`ControlFlow::Break`]: the call ends
/// with [`Error::Cancelled`], and the next call continues from what has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// More of a file has arrived.
    Bytes {
        /// The file's name.
        file: &'a str,
        /// Bytes that have arrived.
        done: u64,
        /// Bytes of the whole file, if the Hub states them.
        total: Option<u64>,
    },
    /// Another process is downloading the same file; this one waits for it to end.
    Waits {
        /// The file's name.
        file: &'a str,
    },
    /// A request failed and is repeated after a wait.
    Retries {
        /// The file's or the repository's name.
        what: &'a str,
        /// How many times in a row it failed, since bytes last arrived.
        failures: usize,
        /// How long the wait is.
        wait: Duration,
        /// Whether the server asked for the wait, which may then take minutes.
        is_asked_for: bool,
        /// What failed.
        reason: &'a str,
    },
}

/// Where checkpoints come from: an endpoint and a cache.
#[derive(Clone, Debug)]
pub struct Hub {
    settings: Settings,
}

impl Hub {
    /// A Hub with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// A Hub with the settings in the environment's variables.
    ///
    /// # Errors
    /// Names the variable whose value cannot be used.
    pub fn from_env() -> Result<Self> {
        Settings::from_env().map(Self::new)
    }

    /// The repository that a text names: in the forms of [`Repository`]'s `FromStr`, or by the address of a
    /// page of this endpoint.
    ///
    /// # Errors
    /// Where it does not name one, with the reason; where the endpoint is not an address.
    pub fn repository(&self, given: &str) -> Result<Repository> {
        Repository::parse_at(given, Some(&settings::parse_endpoint(&self.settings.endpoint)?))
    }

    /// Finds the repository's commit and downloads the small files of its checkpoint: settings and tokenizer,
    /// not weights. If the Hub does not answer, the cache is used as it is, and [`Snapshot::unreachable`]
    /// says so.
    ///
    /// # Errors
    /// Where the Hub refuses, or has no such repository or revision, or one without a checkpoint's files;
    /// where the Hub may not be asked or does not answer, and the cache lacks what is needed; where the cache
    /// cannot be written.
    pub fn snapshot(
        &self,
        repository: &Repository,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Snapshot> {
        Snapshot::open(&self.settings, repository, progress)
    }
}

/// Reports an event to the callback.
///
/// # Errors
/// [`Error::Cancelled`] where the callback cancels.
fn tell(progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>, event: Progress<'_>) -> Result<()> {
    match progress(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

/// Downloads the checkpoint `repository` (`owner/name`, `owner/name@revision`, or the address of its page)
/// into the cache, unless it is there, with the settings in the environment's variables. Returns its folder.
/// `progress` is called with what happens and may cancel.
///
/// # Errors
/// As [`Hub::from_env`], [`Hub::snapshot`] and [`Snapshot::download_weights`]; where the text does not name a
/// repository.
pub fn download(
    repository: &str,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<PathBuf> {
    let hub = Hub::from_env()?;
    let snapshot = hub.snapshot(&hub.repository(repository)?, progress)?;
    snapshot.download_weights(Weights::Safetensors, progress)?;
    Ok(snapshot.folder().to_owned())
}
