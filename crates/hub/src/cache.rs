//! The cache's layout, which Python's `huggingface_hub` reads and writes too:
//!
//! ```text
//! models--owner--name/
//!   blobs/ETAG                  what was downloaded, once
//!   blobs/ETAG.clipseg-RANDOM.incomplete  what has arrived so far of a download
//!   snapshots/COMMIT/FILE       a link to its blob
//!   refs/REVISION               the commit that a branch or tag was at
//! .locks/models--owner--name/ETAG.lock
//! ```

use std::cmp::Reverse;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::checksum::Checksum;
use crate::content::MAX_SMALL;
use crate::error::{Error, Result};
use crate::repository::Repository;

/// Separates the ETag from the rest in the names of our unfinished downloads.
const INCOMPLETE: &str = ".clipseg-";
/// An unfinished download that was not written to for this long is taken to be abandoned.
const QUIET: Duration = Duration::from_secs(60);

/// A repository's folders in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

/// What an interrupted download has left. Where locks do not work, the download may also still be running.
#[derive(Debug)]
pub(crate) struct Left {
    path: PathBuf,
    length: u64,
    /// Whether it was not written to for a while.
    is_quiet: bool,
}

impl Left {
    /// Starts `path` with a copy of the longest. It is copied, not moved, because another process may still
    /// write to it. Those that were not written to for a while are removed.
    pub fn take_over(left: &[Self], path: &Path) {
        if let Some(longest) = left.first().filter(|left| left.length > 0)
            && fs::copy(&longest.path, path).is_err()
        {
            // For instance, there is no room for both: the download starts anew.
            let _ = fs::remove_file(path);
        }
        Self::remove(left.iter().filter(|left| left.is_quiet));
    }

    /// Removes these files.
    pub fn remove<'a>(left: impl IntoIterator<Item = &'a Self>) {
        for left in left {
            // Another process may have removed it.
            let _ = fs::remove_file(&left.path);
        }
    }
}

impl Cache {
    pub fn new(cache: &Path, repository: &Repository) -> Self {
        let name = repository.folder();
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    /// The folder with a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// A new path for a growing blob, used by no other download, because some network drives grant a lock to
    /// several processes at once. Python's downloads use a path of their own each, too.
    pub fn incomplete(&self, etag: &str) -> PathBuf {
        let own = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        self.folder.join("blobs").join(format!("{etag}{INCOMPLETE}{}.incomplete", &own[..8]))
    }

    /// What interrupted downloads have left of a blob, the longest first.
    pub fn left(&self, etag: &str) -> Vec<Left> {
        let entries = fs::read_dir(self.folder.join("blobs")).into_iter().flatten().filter_map(Result::ok);
        let start = format!("{etag}{INCOMPLETE}");
        let is_left = |name: &str| name.starts_with(&start) && name.ends_with(".incomplete");
        let left = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_left));
        let mut left: Vec<_> = left
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
                let is_quiet = age.is_some_and(|age| age > QUIET);
                Some(Left { path: entry.path(), length: metadata.len(), is_quiet })
            })
            .collect();
        left.sort_by_key(|left| Reverse(left.length));
        left
    }

    /// The file with the commit that a branch or tag pointed to.
    fn reference(&self, revision: &str) -> PathBuf {
        let parts = revision.split('/');
        parts.fold(self.folder.join("refs"), |path, part| path.join(part))
    }

    /// The commit that `revision` pointed to when the Hub was last asked, or `revision` itself if it is a
    /// commit.
    pub fn commit(&self, revision: &str) -> Option<String> {
        // A file is empty where a program was ended, or the disk was full, while it wrote the commit.
        let noted = fs::read_to_string(self.reference(revision)).ok();
        let noted = noted.filter(|commit| !commit.trim().is_empty());
        let commit = noted.map_or_else(|| revision.to_owned(), |commit| commit.trim().to_owned());
        let is_commit = crate::client::is_plain(&commit) && self.snapshot(&commit).is_dir();
        is_commit.then_some(commit)
    }

    /// Writes down the commit that `revision` points to, in a new file that replaces the old one: whoever
    /// reads meanwhile finds either commit whole.
    pub fn note(&self, revision: &str, commit: &str) -> Result<()> {
        let path = self.reference(revision);
        let noted = fs::read_to_string(&path).ok();
        // A complete cache is not written to; it may be read-only.
        if revision == commit || noted.is_some_and(|noted| noted == commit) {
            return Ok(());
        }
        make_parent(&path)?;
        let new = self.incomplete(commit);
        make_parent(&new)?;
        let written = fs::write(&new, commit).and_then(|()| fs::rename(&new, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&new);
            Error::cache(&path)(error)
        })
    }

    /// Names of the files of a commit that the cache has.
    pub fn files(&self, commit: &str) -> Result<Vec<String>> {
        let folder = self.snapshot(commit);
        let entries = fs::read_dir(&folder).map_err(Error::cache(&folder))?;
        // A link to a missing blob is not a file.
        let files = entries.filter_map(io::Result::ok).filter(|entry| entry.path().exists());
        Ok(files.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// Keeps other processes, including Python's, from downloading the same blob until the lock is dropped.
    /// `waits` is called if another process has the lock. It is `None` where there can be no lock, for
    /// instance on a network drive without that service, or in a cache whose locks belong to another user: a
    /// lock only saves work that would be done twice.
    ///
    /// # Errors
    /// Those of `waits`.
    pub fn lock(&self, etag: &str, waits: impl FnOnce() -> Result<()>) -> Result<Option<File>> {
        let open = || {
            fs::create_dir_all(&self.locks)?;
            File::options().create(true).append(true).open(self.locks.join(format!("{etag}.lock")))
        };
        let Ok(file) = open() else { return Ok(None) };
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                waits()?;
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        Ok(locked.is_ok().then_some(file))
    }

    /// Makes `file` of a commit a link to the blob `etag`.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<()> {
        let (blob, pointer) = (self.blob(etag), self.snapshot(commit).join(file));
        make_parent(&pointer)?;
        // A link whose blob was deleted.
        if !pointer.exists() && pointer.symlink_metadata().is_ok() {
            fs::remove_file(&pointer).map_err(Error::cache(&pointer))?;
        }
        // On Windows, symbolic links need a permission that few users have, and some drives support no links
        // at all.
        let linked = symbolic_link(etag, &pointer)
            .or_else(|_| fs::hard_link(&blob, &pointer))
            .or_else(|_| if pointer.exists() { Ok(()) } else { fs::rename(&blob, &pointer) });
        linked.map_err(Error::cache(&pointer))
    }
}

/// Whether a file of the cache, or a link to one, matches the checksum in its blob's name. It is taken to
/// match if the name is not a checksum, or if the file is too long to be read each time.
pub(crate) fn is_sound(path: &Path) -> Result<bool> {
    let blob = fs::read_link(path).unwrap_or_else(|_| path.to_owned());
    let etag = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(checksum) = Checksum::of(etag) else { return Ok(true) };
    if fs::metadata(path).map_err(Error::cache(path))?.len() > MAX_SMALL {
        return Ok(true);
    }
    Ok(checksum.check(path, etag).map_err(Error::cache(path))?.is_ok())
}

/// Relative, so that the cache can be moved.
fn symbolic_link(etag: &str, pointer: &Path) -> io::Result<()> {
    let target: PathBuf = ["..", "..", "blobs", etag].iter().collect();
    #[cfg(unix)]
    return std::os::unix::fs::symlink(target, pointer);
    #[cfg(windows)]
    return std::os::windows::fs::symlink_file(target, pointer);
    #[cfg(not(any(unix, windows)))]
    return Err(io::ErrorKind::Unsupported.into());
}

/// Creates the folder of a file.
pub(crate) fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(Error::cache(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_found_by_its_name_or_commit_once_it_has_files() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), &"a/b".parse().unwrap());
        cache.note("refs/pr/1", "123").unwrap();
        assert_eq!(cache.commit("refs/pr/1"), None);
        fs::create_dir_all(cache.snapshot("123")).unwrap();
        assert_eq!(cache.commit("refs/pr/1").as_deref(), Some("123"));
        assert_eq!(cache.commit("123").as_deref(), Some("123"));
        assert_eq!(cache.commit("main"), None);
        // Whatever the cache contains, nothing outside it is read.
        cache.note("main", "../../..").unwrap();
        assert_eq!(cache.commit("main"), None);
        // An empty file says nothing.
        fs::write(cache.reference("123"), "\n").unwrap();
        assert_eq!(cache.commit("123").as_deref(), Some("123"));
    }

    /// As other programs may, the test holds the old file open; what it reads from it stays whole.
    #[cfg(unix)]
    #[test]
    fn a_reference_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), &"a/b".parse().unwrap());
        cache.note("main", "123").unwrap();
        let old = File::open(cache.reference("main")).unwrap();
        cache.note("main", "4567").unwrap();
        assert_eq!(io::read_to_string(old).unwrap(), "123");
        assert_eq!(fs::read_to_string(cache.reference("main")).unwrap(), "4567");
        assert_eq!(fs::read_dir(folder.path().join("models--a--b/blobs")).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_is_had_where_there_can_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), &"a/b".parse().unwrap());
        let lock = cache.lock("etag", || Ok(())).unwrap();
        assert!(lock.is_some());
        // Another program waits, unless its user cancels.
        let waits = cache.lock("etag", || Err(Error::Cancelled));
        assert!(matches!(waits, Err(Error::Cancelled)), "{waits:?}");
        // A folder stands for what may not be opened.
        fs::create_dir_all(cache.locks.join("other.lock")).unwrap();
        assert!(cache.lock("other", || Ok(())).unwrap().is_none());
    }

    /// The Hub stores a long tokenizer.json like this, under its SHA-256.
    #[test]
    fn a_file_is_sound_that_is_what_its_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for name in [sha256, "ce013625030ba8dba906f756967f9e9ca394464a"] {
            let path = folder.path().join(name);
            fs::write(&path, "hello\n").unwrap();
            assert!(is_sound(&path).unwrap(), "{name}");
            fs::write(&path, "hell").unwrap();
            assert!(!is_sound(&path).unwrap(), "{name}");
        }
        let path = folder.path().join("5f3c-61c");
        fs::write(&path, "whatever").unwrap();
        assert!(is_sound(&path).unwrap());
    }

    #[test]
    fn a_link_whose_blob_is_gone_is_no_file_and_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), &"a/b".parse().unwrap());
        for content in ["first", "second"] {
            make_parent(&cache.blob(content)).unwrap();
            fs::write(cache.blob(content), content).unwrap();
            cache.link("123", "config.json", content).unwrap();
            // Linking again, as another process might, is not an error.
            cache.link("123", "config.json", content).unwrap();
            assert_eq!(fs::read_to_string(cache.snapshot("123").join("config.json")).unwrap(), content);
            assert_eq!(cache.files("123").unwrap(), ["config.json"]);
            fs::remove_file(cache.blob(content)).unwrap();
            if cfg!(unix) {
                assert!(cache.files("123").unwrap().is_empty());
            } else {
                fs::remove_file(cache.snapshot("123").join("config.json")).unwrap();
            }
        }
    }
}
