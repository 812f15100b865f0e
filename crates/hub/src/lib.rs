//! Checkpoints from the [Hugging Face Hub](https://huggingface.co), by the name of their repository.
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
//! Files land in the cache of Python's `huggingface_hub`, in its layout: what either has downloaded, the other finds.
//! Its variables are heeded too; [`Settings::from_env`] lists them. A broken connection is made again and goes on where
//! it broke, within a run and in the next one. What arrived is checked: large files by the SHA-256 that the Hub
//! announces, small ones by the SHA-1 that Git has for them. A Hub that has too many requests is waited for as long as it
//! asks.
//!
//! Requests go through `ureq`, with rustls and the system's certificates. The `hf-hub` crate would take more of the work
//! off, but not this: 1.0 brings some 280 crates (tokio, reqwest, xet), begins a broken download over HTTP anew, compares
//! no checksum there and knows no `HF_HUB_OFFLINE`; 0.5, the last without tokio, knows neither `HF_TOKEN` nor
//! `HF_HUB_CACHE` either, sends the token to whatever host it is redirected to, and appends the whole to a part where a
//! server ignores ranges.

mod address;
mod cache;
mod checksum;
mod client;
mod content;
mod download;
mod error;
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

/// What goes on while files come. Whoever hears of it breaks off with [`ControlFlow::Break`]: the call ends with
/// [`Error::Cancelled`], and the next one goes on from what has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// More of a file has arrived.
    Bytes {
        /// The file's name.
        file: &'a str,
        /// Bytes that are there.
        done: u64,
        /// Bytes of the whole file, where the Hub says so.
        total: Option<u64>,
    },
    /// Another process is downloading the same file; its end is waited for.
    Waits {
        /// The file's name.
        file: &'a str,
    },
    /// Something failed and is asked for again after a wait.
    Retries {
        /// The file's or the repository's name.
        what: &'a str,
        /// How often in a row it failed, since bytes last arrived.
        failures: usize,
        /// How long is waited.
        wait: Duration,
        /// Whether the server asked for a wait, of minutes perhaps.
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
    /// With settings of your own.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// As the environment's variables say.
    ///
    /// # Errors
    /// Naming the variable whose value cannot be used.
    pub fn from_env() -> Result<Self> {
        Settings::from_env().map(Self::new)
    }

    /// The repository that a text names: as [`Repository`]'s `FromStr`, and by the addresses of this endpoint's own pages.
    ///
    /// # Errors
    /// Where it names none, with the reason; where the endpoint is not an address.
    pub fn repository(&self, given: &str) -> Result<Repository> {
        Repository::parse_at(given, Some(&settings::parse_endpoint(&self.settings.endpoint)?))
    }

    /// Finds the repository's commit and brings the small files of its checkpoint: settings and tokenizer, not weights.
    /// Where the Hub does not answer, the cache is used as it is; [`Snapshot::unreachable`] tells.
    ///
    /// # Errors
    /// Where the Hub refuses, has no such repository or revision, or one without a checkpoint's files; where it is not to
    /// be asked or does not answer, and the cache lacks what is needed; where the cache cannot be written.
    pub fn snapshot(
        &self,
        repository: &Repository,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Snapshot> {
        Snapshot::open(&self.settings, repository, progress)
    }
}

/// Tells of what goes on.
///
/// # Errors
/// [`Error::Cancelled`] where that is the end of it.
fn tell(progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>, event: Progress<'_>) -> Result<()> {
    match progress(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

/// Brings the checkpoint `repository` (`owner/name`, `owner/name@revision`, or its page's address) into the cache, unless it is there, as the
/// environment's variables say; its folder. `progress` hears of what goes on and may break off.
///
/// # Errors
/// As [`Hub::from_env`], [`Hub::snapshot`] and [`Snapshot::download_weights`]; where the text names no repository.
pub fn download(
    repository: &str,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<PathBuf> {
    let hub = Hub::from_env()?;
    let snapshot = hub.snapshot(&hub.repository(repository)?, progress)?;
    snapshot.download_weights(Weights::Safetensors, progress)?;
    Ok(snapshot.folder().to_owned())
}
