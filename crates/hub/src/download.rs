//! Downloads one file from the Hub into the cache.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;

use crate::address::Address;
use crate::cache::{self, Cache, Left};
use crate::client::{Client, Metadata, Size};
use crate::content::Kind;
use crate::error::{Error, Result};
use crate::partial::Partial;
use crate::retries::Retries;
use crate::{Progress, tell};

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;
/// Longest header of a safetensors file.
const MAX_HEADER: u64 = 100_000_000;

/// A file of a commit that the cache should have.
pub(crate) struct Wanted<'a> {
    pub client: &'a Client,
    pub cache: &'a Cache,
    pub commit: &'a str,
    pub file: &'a str,
    pub address: Address,
    pub kind: Kind,
}

impl Wanted<'_> {
    /// Downloads the file, unless the cache has it.
    ///
    /// After a broken connection the download continues where it broke, and so it does after an earlier run
    /// that was interrupted.
    pub fn fetch(&self, progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>) -> Result<()> {
        let Self { cache, commit, file, .. } = self;
        let pointer = cache.snapshot(commit).join(file);
        if pointer.exists() {
            if self.is_right(&pointer)? {
                return Ok(());
            }
            fs::remove_file(&pointer).map_err(Error::cache(&pointer))?;
        }
        let metadata = self.retries().repeat(progress, |_| true, || self.metadata())?;
        let blob = cache.blob(&metadata.etag);
        if !is_there(&blob, &metadata) {
            cache::make_parent(&blob)?;
            let lock = cache.lock(&metadata.etag, || tell(progress, Progress::Waits { file }))?;
            // The process that held the lock may have downloaded it.
            if !is_there(&blob, &metadata) {
                let path = cache.incomplete(&metadata.etag);
                let left = cache.left(&metadata.etag);
                Left::take_over(&left, &path);
                if let Err(error) = self.complete(&path, &metadata, &blob, progress) {
                    // The part that an earlier run left may be wrong: start again from the first byte.
                    let Error::Damaged { .. } = error else { return Err(error) };
                    Left::remove(&left);
                    self.complete(&path, &metadata, &blob, progress)?;
                }
                Left::remove(&left);
            }
            drop(lock);
        }
        cache.link(commit, file, &metadata.etag)
    }

    fn metadata(&self) -> Result<Metadata> {
        self.client.metadata(&self.address, self.file, self.kind)
    }

    fn retries(&self) -> Retries<'_> {
        Retries::new(self.file, self.client.limits.max_retry_after)
    }

    /// Whether the cached file is complete. Small files are checked in full. A safetensors file is complete
    /// if its length is what its header implies. For any other file the Hub is asked for the size, once; if
    /// it does not answer, the file is used as it is.
    fn is_right(&self, pointer: &Path) -> Result<bool> {
        if self.kind == Kind::Small {
            return cache::is_sound(pointer);
        }
        let length = fs::metadata(pointer).map_err(Error::cache(pointer))?.len();
        if safetensors_length(pointer) == Some(length) {
            return Ok(true);
        }
        Ok(!matches!(self.metadata(), Ok(Metadata { size: Size::Certain(size), .. }) if size != length))
    }

    /// Downloads what is missing of the file, and moves it to the blob.
    fn complete(
        &self,
        path: &Path,
        metadata: &Metadata,
        blob: &Path,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut partial = Partial::open(path.to_owned(), metadata.size)?;
        let mut retries = self.retries();
        loop {
            let before = partial.length();
            let Err(error) = self.receive(&mut partial, progress) else { break };
            // Only for large files: a small file that arrives a few bytes at a time would otherwise be
            // retried endlessly.
            if partial.length() > before && self.kind == Kind::Large {
                retries.reset();
            }
            retries.wait(error, progress).map_err(|error| self.broken(error, &partial, &retries))?;
        }
        match partial.finish(self.file, &metadata.etag, metadata.checksum, blob) {
            // Where locks do not work, another download was faster and removed this one as abandoned.
            Err(Error::Cache { source, .. })
                if source.kind() == ErrorKind::NotFound && is_there(blob, metadata) =>
            {
                Ok(())
            }
            finished => finished,
        }
    }

    /// Turns a transient error into `Broken` once retries are exhausted.
    fn broken(&self, error: Error, partial: &Partial, retries: &Retries<'_>) -> Error {
        match error {
            Error::Network { reason, .. } => Error::Broken {
                file: self.file.to_owned(),
                done: partial.length(),
                total: partial.total(),
                attempts: retries.failures(),
                reason,
            },
            other => other,
        }
    }

    /// Fetches what is missing of the file, until it is complete or the connection breaks.
    fn receive(
        &self,
        partial: &mut Partial,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        if partial.is_whole() {
            return Ok(());
        }
        let (file, url) = (self.file, self.address.to_string());
        let broke = |reason: &str| Error::Network { url: url.clone(), reason: reason.to_owned() };
        let mut content = self.client.content(&self.address, file, self.kind, partial.length())?;
        let is_whole = content.part.is_none();
        let total = match content.part {
            // The whole file: it was asked for, or the server ignores ranges.
            None => content.length,
            Some(part) if part.start == Some(partial.length()) && !part.ends_before(partial.length()) => {
                part.total
            }
            // It was complete already, which only the server knew.
            Some(part) if part.start.is_none() && part.total == Some(partial.length()) => return Ok(()),
            Some(_) => {
                partial.restart()?;
                return Err(broke("the server sent another part than was asked for"));
            }
        };
        if let Some(total) = total {
            partial.announce(total).map_err(|size| {
                Error::answer(&url, format!("it announces {total} bytes, and the Hub {size}"))
            })?;
        }
        // Only after the size was checked: a proxy's page must not make us discard what has arrived.
        if is_whole {
            partial.restart()?;
        }
        let mut piece = vec![0; PIECE];
        tell(progress, Progress::Bytes { file, done: partial.length(), total: partial.total() })?;
        loop {
            let count = content.read(&mut piece)?;
            if count == 0 {
                break;
            }
            if let Some(size) = partial.total()
                && size - partial.length() < count as u64
            {
                return Err(Error::answer(&url, format!("it sends more than the {size} bytes announced")));
            }
            partial.write(&piece[..count])?;
            tell(progress, Progress::Bytes { file, done: partial.length(), total: partial.total() })?;
        }
        if partial.total().is_some_and(|size| partial.length() < size) {
            return Err(broke("the connection was closed"));
        }
        Ok(())
    }
}

/// Whether the cache has the blob, undamaged.
fn is_there(blob: &Path, metadata: &Metadata) -> bool {
    let Ok(found) = fs::metadata(blob) else { return false };
    let has_size = match metadata.size {
        Size::Certain(size) => found.len() == size,
        Size::Likely(_) | Size::Unknown => true,
    };
    has_size && cache::is_sound(blob).unwrap_or(false)
}

/// The length of a safetensors file according to its header; `None` if it does not have such a header.
fn safetensors_length(path: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        data_offsets: (u64, u64),
    }
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    let mut header = Vec::new();
    file.take(length.min(MAX_HEADER)).read_to_end(&mut header).ok()?;
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(&header).ok()?;
    let end = entries.values().map(|entry| entry.data_offsets.1).max()?;
    end.checked_add(8)?.checked_add(length)
}
