//! Finds the checkpoint: a folder, or a repository of the Hugging Face Hub.

#[cfg_attr(not(feature = "hub"), path = "model/without_hub.rs")]
mod hub;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use clipseg::Checkpoint;
use clipseg_files::{Form, SMALL_FILES, folder_within, quoted};

use self::hub::{Repository, Snapshot};
pub use self::hub::{download_weights, repository, shown, snapshot};

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
        if let Err(error) = path.metadata()
            && error.kind() == ErrorKind::PermissionDenied
        {
            bail!("{flag}: cannot be looked for: {error}");
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
            Self::Repository(_, snapshot) => Ok(snapshot.check_weights(Form::Safetensors)?),
        }
    }

    /// Downloads the weights of a repository, unless the cache has them.
    pub fn download_weights(&self) -> Result<()> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Repository(_, snapshot) => download_weights(snapshot, Form::Safetensors),
        }
    }
}
