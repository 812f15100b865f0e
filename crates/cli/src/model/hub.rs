//! Repositories of the Hugging Face Hub.

mod transfer;

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use clipseg::hub::{self, Hub};
pub use clipseg::hub::{Repository, Snapshot};
use clipseg_files::Form;

use self::transfer::Transfer;
use crate::report;

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
pub fn download_weights(snapshot: &Snapshot, form: Form) -> Result<()> {
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
