//! The files of a checkpoint at one commit, in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clipseg_files::{Form as Weights, Lack, Names, SMALL_FILES, Weights as WeightsFile};
use serde::Deserialize;

use crate::Progress;
use crate::cache::{self, Cache};
use crate::client::{Client, is_plain};
use crate::content::Kind;
use crate::download::Wanted;
use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::retries::Retries;
use crate::settings::Settings;

/// A repository at one commit. Its small files are in the cache; its weights are, too, once they have been
/// asked for.
#[derive(Debug)]
pub struct Snapshot {
    repository: Repository,
    commit: String,
    folder: PathBuf,
    cache: Cache,
    /// The files that exist: on the Hub, or in the cache if only that is used.
    files: Names,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Hub(Box<Client>),
    /// Only the cache, because the user said so.
    Offline,
    /// Only the cache, because the Hub did not answer; the message of that error.
    Unreachable(String),
}

impl Snapshot {
    /// Finds the commit and downloads the small files.
    pub(crate) fn open(
        settings: &Settings,
        repository: &Repository,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Self> {
        let cache = Cache::new(&settings.cache, repository);
        let noted = cache.commit(repository.revision());
        let (commit, files, source) = if settings.offline {
            let commit = noted.ok_or_else(|| Error::NotCached {
                missing: format!("revision {}", repository.revision()),
                repository: repository.to_string(),
                looked_in: settings.cache.join(repository.folder()),
                why: OFFLINE.to_owned(),
            })?;
            (commit.clone(), cache.files(&commit)?, Source::Offline)
        } else {
            let client = Client::new(settings)?;
            let has_weights = match &noted {
                Some(commit) => has_weights(&cache.files(commit)?.into_iter().collect()),
                None => false,
            };
            let name = repository.to_string();
            let mut retries = Retries::new(&name, settings.limits.max_retry_after);
            let listing = retries.repeat(
                progress,
                |error| match error {
                    // If the cache has the commit, it is used without waiting; only if it lacks weights and
                    // the Hub is merely busy, the Hub is waited for.
                    Error::Status { .. } => !has_weights,
                    _ => noted.is_none(),
                },
                || client.listing(repository),
            );
            match (listing, noted) {
                (Ok(listing), _) => (listing.commit, listing.files, Source::Hub(Box::new(client))),
                (Err(error), Some(commit)) if error.is_transient() => {
                    (commit.clone(), cache.files(&commit)?, Source::Unreachable(error.to_string()))
                }
                (Err(error), _) => return Err(error),
            }
        };
        let folder = cache.snapshot(&commit);
        let files = files.into_iter().collect();
        let snapshot = Self { repository: repository.clone(), commit, folder, cache, files, source };
        snapshot.fetch_small_files(progress)?;
        Ok(snapshot)
    }

    fn fetch_small_files(&self, progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>) -> Result<()> {
        let small: Vec<_> = SMALL_FILES.into_iter().filter(|name| self.files.has(name)).collect();
        if small.is_empty() {
            return Err(match Weights::Safetensors.find(&self.files) {
                // Saying what there is instead helps more than saying what is missing.
                Err(lack) if !matches!(lack, Lack::Nothing { .. }) => self.lacks(Weights::Safetensors, &lack),
                _ => self.missing(SMALL_FILES[0], "it has neither config.json nor a tokenizer's files"),
            });
        }
        for file in small {
            self.fetch(file, Kind::Small, progress)?;
        }
        match self.source {
            // Only after the files: offline, an older commit with files is better than a newer one without.
            Source::Hub(_) => self.cache.note(self.repository.revision(), &self.commit),
            Source::Offline | Source::Unreachable(_) => Ok(()),
        }
    }

    /// The folder with the files, to read a checkpoint from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The commit that the revision points to.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Why the cache was used without asking the Hub for something newer; `None` if the Hub was asked, or may
    /// not be.
    pub fn unreachable(&self) -> Option<&str> {
        match &self.source {
            Source::Unreachable(reason) => Some(reason),
            Source::Hub(_) | Source::Offline => None,
        }
    }

    /// Checks, without fetching anything, that there are weights of this form.
    ///
    /// # Errors
    /// Where there are none; the error says so, or which other form there is and what to do with it.
    pub fn check_weights(&self, form: Weights) -> Result<()> {
        self.weights(form).map(drop)
    }

    /// Downloads the weights in this form into the folder, unless they are there.
    ///
    /// # Errors
    /// As [`check_weights`](Self::check_weights); where the Hub refuses or cannot be reached; where a
    /// download is interrupted again and again, or arrives damaged; where the cache cannot be written.
    pub fn download_weights(
        &self,
        form: Weights,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let weights = self.weights(form)?;
        self.fetch(&weights.file, if weights.is_index { Kind::Small } else { Kind::Large }, progress)?;
        if weights.is_index {
            for shard in shards(&self.folder.join(&weights.file))? {
                self.fetch(&shard, Kind::Large, progress)?;
            }
        }
        Ok(())
    }

    /// The weights file, or the index of several.
    fn weights(&self, form: Weights) -> Result<WeightsFile> {
        form.find(&self.files).map_err(|lack| self.lacks(form, &lack))
    }

    fn lacks(&self, form: Weights, lack: &Lack) -> Error {
        let repository = self.repository.to_string();
        let message = lack.describe(&repository);
        match lack {
            Lack::Nothing { .. } => self.missing(form.file(), &format!("it {message}")),
            _ => Error::Repository { repository, message },
        }
    }

    fn fetch(
        &self,
        file: &str,
        kind: Kind,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        match &self.source {
            Source::Hub(client) => {
                let address = client.file_address(&self.repository, &self.commit, file);
                let (cache, commit) = (&self.cache, self.commit.as_str());
                Wanted { client, cache, commit, file, address, kind }.fetch(progress)
            }
            _ if self.files.has(file) && cache::is_sound(&self.folder.join(file))? => Ok(()),
            _ if self.files.has(file) => Err(self.missing(&format!("an undamaged {file}"), "")),
            _ => Err(self.missing(file, "")),
        }
    }

    /// The error for a missing file: on the Hub, with the reason given, or in the cache.
    fn missing(&self, file: &str, on_the_hub: &str) -> Error {
        let why = match &self.source {
            Source::Hub(_) => {
                return Error::Repository {
                    repository: self.repository.to_string(),
                    message: format!("is not a checkpoint: {on_the_hub}; check its name"),
                };
            }
            Source::Offline => OFFLINE,
            Source::Unreachable(reason) => reason,
        };
        Error::NotCached {
            missing: file.to_owned(),
            repository: self.repository.to_string(),
            looked_in: self.folder.clone(),
            why: why.to_owned(),
        }
    }
}

/// Whether these files include weights in a form that is supported.
fn has_weights(files: &Names) -> bool {
    [Weights::Safetensors, Weights::PyTorch].iter().any(|form| form.find(files).is_ok())
}

/// Why the Hub is not asked.
const OFFLINE: &str = "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids asking the Hub; unset it and run this once with a connection, or give a \
                       folder";

/// The files that an index of weights lists. The index is untrusted: a name that leads out of the folder is
/// refused.
fn shards(index: &Path) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let damaged = |message: String| Error::Repository { repository: index.display().to_string(), message };
    let text = fs::read_to_string(index).map_err(Error::cache(index))?;
    let Index { weight_map } = serde_json::from_str(&text)
        .map_err(|error| damaged(format!("is not an index of shards: {error}")))?;
    let files: BTreeSet<_> = weight_map.into_values().collect();
    match files.iter().find(|file| !is_plain(file)) {
        Some(file) => Err(damaged(format!("lists the shard {file:?}, which is not a plain file name"))),
        None => Ok(files),
    }
}
