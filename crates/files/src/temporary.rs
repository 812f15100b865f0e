//! Temporary files that get their final name only when they are complete, and that no program leaves behind,
//! however it ends.
//!
//! A program that is asked to stop calls [`remove_unfinished`]. If a program is killed outright, the next one
//! that writes to the same folder removes its files: each program holds a lock on its temporary files, and
//! the operating system releases the lock when the program ends.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::{NamedTempFile, TempPath};

/// The start of the names of temporary files.
const PREFIX: &str = ".clipseg-";
/// On file systems without locks, a temporary file of this age is taken to be abandoned.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// The unfinished files of this program, and the folders that it has cleared of other programs' files.
struct State {
    unfinished: BTreeSet<PathBuf>,
    cleared: BTreeSet<PathBuf>,
}

static STATE: Mutex<State> = Mutex::new(State { unfinished: BTreeSet::new(), cleared: BTreeSet::new() });

fn state() -> MutexGuard<'static, State> {
    // A panic elsewhere cannot leave the sets half-changed.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is being written; it is deleted when dropped.
#[derive(Debug)]
pub struct Temporary {
    file: File,
    /// `None` once the file has its final name.
    path: Option<TempPath>,
}

impl Temporary {
    /// Creates a file in a folder, and removes what killed programs have left there.
    ///
    /// # Errors
    /// Where no file can be created there.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut state = state();
        let this = loop {
            let (file, path) = new_file(folder)?.into_parts();
            // Without locks, other programs judge the file by its age.
            let _ = file.lock();
            // Before the file was locked, another program may have taken it for abandoned and removed it.
            if path.exists() {
                break Self { file, path: Some(path) };
            }
        };
        if let Some(path) = &this.path {
            state.unfinished.insert(path.to_path_buf());
            if state.cleared.insert(folder.to_owned()) {
                clear(folder, path, &state.unfinished);
            }
        }
        Ok(this)
    }

    /// The file.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Gives the file its final name and replaces any file of that name.
    ///
    /// # Errors
    /// Where the system refuses; the temporary file is deleted then.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        self.finish(|from| from.persist(path))
    }

    /// Gives the file its final name, unless a file of that name exists.
    ///
    /// # Errors
    /// As [`persist`](Self::persist).
    pub fn persist_noclobber(self, path: &Path) -> io::Result<()> {
        self.finish(|from| from.persist_noclobber(path))
    }

    fn finish(
        mut self,
        name: impl FnOnce(TempPath) -> Result<(), tempfile::PathPersistError>,
    ) -> io::Result<()> {
        let mut state = state();
        let Some(path) = self.path.take() else { return Ok(()) };
        state.unfinished.remove(&*path);
        name(path).map_err(|error| error.error)
    }
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let mut state = state();
            state.unfinished.remove(&*path);
            // Deleted while the lock is held, so that `remove_unfinished` cannot run between the two steps.
            drop(path);
        }
    }
}

/// Removes all unfinished files, for a program that is about to end. The lock is never released, so no file
/// can be created or finished afterwards.
pub fn remove_unfinished() {
    let state = state();
    for path in &state.unfinished {
        let _ = fs::remove_file(path);
    }
    std::mem::forget(state);
}

fn new_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    // Permissions of any new file (the umask still applies), not the owner-only ones of temporary files.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Removes the temporary files in a folder whose programs have ended. `own` is a file that this program has
/// locked. Files that cannot be removed stay.
fn clear(folder: &Path, own: &Path, unfinished: &BTreeSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let has_prefix = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
    };
    let left = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let left = left.filter(|path| has_prefix(path) && !unfinished.contains(path));
    let left: Vec<_> =
        left.filter(|path| fs::symlink_metadata(path).is_ok_and(|file| file.is_file())).collect();
    if left.is_empty() {
        return;
    }
    // Some file systems grant every lock: then even our own file can be locked again.
    let locks_hold = File::open(own).is_ok_and(|own| own.try_lock().is_err());
    for path in left {
        let Ok(file) = File::options().write(true).open(&path) else { continue };
        let is_free = match locks_hold {
            true => file.try_lock().is_ok(),
            false => {
                let changed = file.metadata().and_then(|file| file.modified()).ok();
                changed.and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age > OLD)
            }
        };
        if is_free {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_whole_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Temporary::create(folder.path()).unwrap();
        file.write_all(b"whole").unwrap();
        assert!(names(folder.path())[0].starts_with(PREFIX));
        file.persist_noclobber(&folder.path().join("a")).unwrap();
        drop(Temporary::create(folder.path()).unwrap());
        assert_eq!(names(folder.path()), ["a"]);
        let error = Temporary::create(folder.path()).unwrap().persist_noclobber(&folder.path().join("a"));
        assert!(error.is_err());
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"whole");
    }

    #[test]
    fn what_others_left_is_removed_and_what_they_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".clipseg-left"), "").unwrap();
        fs::write(folder.path().join(".other-left"), "").unwrap();
        fs::write(folder.path().join(".clipseg-busy"), "").unwrap();
        let busy = File::open(folder.path().join(".clipseg-busy")).unwrap();
        busy.lock().unwrap();
        drop(Temporary::create(folder.path()).unwrap());
        assert_eq!(names(folder.path()), [".clipseg-busy", ".other-left"]);
    }
}
