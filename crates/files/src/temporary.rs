//! Files that have no lasting name until they are whole, and that no end of the program leaves behind.
//!
//! Who is asked to stop calls [`remove_unfinished`]. What a program leaves that is killed outright, the next
//! one removes that writes to the folder: each holds a lock on its files, which the system lets go of
//! whatever ends it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::{NamedTempFile, TempPath};

/// What the names of such files begin with.
const PREFIX: &str = ".clipseg-";
/// Where locks mean nothing, files so old are of nobody.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// What the program has begun and not finished, and the folders in which it has looked for what others left.
struct State {
    unfinished: BTreeSet<PathBuf>,
    cleared: BTreeSet<PathBuf>,
}

static STATE: Mutex<State> = Mutex::new(State { unfinished: BTreeSet::new(), cleared: BTreeSet::new() });

fn state() -> MutexGuard<'static, State> {
    // A set of paths is right whoever panicked.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is being written; it goes when it is dropped.
#[derive(Debug)]
pub struct Temporary {
    file: File,
    /// Gone when the file has its name.
    path: Option<TempPath>,
}

impl Temporary {
    /// Starts a file in a folder, and removes what killed programs have left there.
    ///
    /// # Errors
    /// Where no file can be made there.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut state = state();
        let this = loop {
            let (file, path) = new_file(folder)?.into_parts();
            // Where there are no locks, others judge by its age.
            let _ = file.lock();
            // Before it was locked, another program may have taken it for one that was left, and removed it.
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

    /// Gives the file its name, in place of a file that has it.
    ///
    /// # Errors
    /// Where the system refuses; the file is gone then.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        self.finish(|from| from.persist(path))
    }

    /// Gives the file its name, unless there is a file that has it.
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
            // Within the lock, so that nobody who stops the program sees half of it.
            drop(path);
        }
    }
}

/// Removes all files that are not finished. No other is begun or finished after that: it is for a program
/// that ends.
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
    // As any new file, not for the owner alone as temporary ones are; the umask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Removes the files in a folder whose owners are gone. `own` is locked by this program. What cannot be
/// removed stays.
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
    // Some file systems grant a lock to all who ask.
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
