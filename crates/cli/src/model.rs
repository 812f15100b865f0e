//! Finds the checkpoint: a folder, or a repository of the Hugging Face Hub.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use clipseg::Checkpoint;
use clipseg::hub::{self, Hub, Repository, Snapshot, Weights};
use clipseg_files::{SMALL_FILES, folder_within, quoted};

use crate::progress::Transfer;
use crate::report;

/// The checkpoint.
#[derive(Args)]
pub struct ModelArguments {
    /// Folder of the checkpoint, or a repository of the Hugging Face Hub, which is downloaded into the Hub's
    /// usual cache: its name, or the address of its page, huggingface.co/owner/name (or with /tree/REVISION
    /// appended).
    #[arg(long = "model", value_name = "DIR|OWNER/NAME[@REVISION]|URL")]
    value: PathBuf,
}

impl ModelArguments {
    /// Finds the checkpoint. From a repository it downloads the small files, not yet the weights.
    pub fn open(&self) -> Result<Model> {
        let path = &self.value;
        let flag = format!("--model {}", shown(path));
        if path.is_dir() {
            let is_checkpoint = SMALL_FILES.iter().any(|name| path.join(name).exists());
            if let Some(within) = folder_within(path).filter(|_| !is_checkpoint) {
                bail!("{flag}: {within}");
            }
            return Ok(Model::Folder(path.clone()));
        }
        if path.exists() {
            let folder =
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            bail!(
                "{flag}: is a file; give the folder that holds it and the checkpoint's config.json: {}",
                quoted(&folder.display().to_string())
            );
        }
        let Some(repository) = repository(path)? else {
            bail!(
                "{flag}: there is no such folder, and it names no repository of the Hub (owner/name, \
                 owner/name@revision); give the folder that holds the checkpoint's config.json, or such a name"
            );
        };
        let snapshot = snapshot(&repository, &flag)?;
        Ok(Model::Repository(repository, Box::new(snapshot)))
    }
}

/// What the user gave in place of a folder, for a message: an address is shown without its password.
pub fn shown(given: &Path) -> String {
    hub::shown(&given.to_string_lossy())
}

/// The repository of which `path` is the name or the page's address; `None` for another path. Any other
/// address is an error.
pub fn repository(path: &Path) -> Result<Option<Repository>> {
    let Some(given) = path.to_str() else { return Ok(None) };
    match Hub::from_env()?.repository(given) {
        Ok(repository) => Ok(Some(repository)),
        Err(error @ hub::Error::Name { .. }) if given.contains("://") => Err(error.into()),
        Err(hub::Error::Name { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Downloads the small files of a repository, and warns when the Hub cannot be reached. `given` is how the
/// user named the repository.
pub fn snapshot(repository: &Repository, given: &str) -> Result<Snapshot> {
    let mut transfer = Transfer::default();
    let snapshot = Hub::from_env()?
        .snapshot(repository, &mut show(&mut transfer))
        .with_context(|| format!("{given}: there is no such folder, and as a repository of the Hub"))?;
    drop(transfer);
    if let Some(reason) = snapshot.unreachable() {
        report::warning(format_args!(
            "{repository} is taken from the cache as it was last downloaded, commit {}: {reason}",
            snapshot.commit()
        ));
    }
    Ok(snapshot)
}

/// Downloads the weights of a repository, with a bar where there is a terminal.
pub fn download_weights(snapshot: &Snapshot, form: Weights) -> Result<()> {
    let mut transfer = Transfer::default();
    Ok(snapshot.download_weights(form, &mut show(&mut transfer))?)
}

/// Shows the progress and never cancels the download: a signal ends the process.
fn show(transfer: &mut Transfer) -> impl FnMut(hub::Progress<'_>) -> ControlFlow<()> {
    |progress| {
        transfer.show(progress);
        ControlFlow::Continue(())
    }
}

/// A checkpoint that was found.
pub enum Model {
    Folder(PathBuf),
    Repository(Repository, Box<Snapshot>),
}

impl Model {
    /// The folder that it is in, or is downloaded into.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Repository(_, snapshot) => snapshot.folder(),
        }
    }

    /// Reads something from the folder. Errors name the repository, as the name of its folder says little.
    pub fn read<'a, T>(&'a self, read: impl FnOnce(&'a Path) -> clipseg::Result<T>) -> Result<T> {
        let read = read(self.folder());
        match self {
            Self::Folder(_) => Ok(read?),
            Self::Repository(repository, _) => read.with_context(|| format!("--model {repository}")),
        }
    }

    /// Checks that there are weights to load, without downloading any.
    pub fn check_weights(&self) -> Result<()> {
        match self {
            Self::Folder(folder) => Ok(Checkpoint::find(folder)?),
            Self::Repository(_, snapshot) => Ok(snapshot.check_weights(Weights::Safetensors)?),
        }
    }

    /// Downloads the weights of a repository, unless the cache has them.
    pub fn download_weights(&self) -> Result<()> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Repository(_, snapshot) => download_weights(snapshot, Weights::Safetensors),
        }
    }
}
