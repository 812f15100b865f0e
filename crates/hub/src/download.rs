//! One file, from the Hub into the cache.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::Progress;
use crate::cache::{self, Cache};
use crate::client::{Client, Metadata};
use crate::error::{Error, Result};

/// How long to wait before asking again after each break, for as long as nothing more arrives.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
];
/// Bytes that are read at a time.
const PIECE: usize = 64 * 1024;

/// Downloads `file` of a commit into the cache, unless it is there. `url` is its address.
///
/// A connection that breaks is made again and goes on where it broke; what an earlier run left is gone on with too.
pub(crate) fn fetch(
    client: &Client,
    cache: &Cache,
    commit: &str,
    file: &str,
    url: &str,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    if cache.snapshot(commit).join(file).exists() {
        return Ok(());
    }
    let mut patience = Patience::default();
    let metadata = loop {
        match client.metadata(url, file) {
            Ok(metadata) => break metadata,
            Err(error) => patience.wait(error, file, progress)?,
        }
    };
    let Metadata { etag, size } = &metadata;
    let blob = cache.blob(etag);
    let is_there = || fs::metadata(&blob).is_ok_and(|blob| blob.len() == *size);
    if !is_there() {
        cache::make_parent(&blob)?;
        let lock = cache.lock(etag, || progress(Progress::Waits { file }))?;
        // Whoever held the lock may have brought it.
        if !is_there() {
            let mut partial = Partial::open(cache.incomplete(etag), *size)?;
            let mut patience = Patience::default();
            loop {
                let before = partial.length;
                let Err(error) = receive(client, url, file, &mut partial, progress) else { break };
                if partial.length > before {
                    patience = Patience::default();
                }
                patience
                    .wait(error, file, progress)
                    .map_err(|error| broken(error, file, &partial, &patience))?;
            }
            partial.finish(file, etag, &blob)?;
        }
        drop(lock);
    }
    cache.link(commit, file, etag)
}

/// How often in a row the connection broke, since bytes last arrived.
#[derive(Default)]
struct Patience {
    failures: usize,
}

impl Patience {
    /// Waits before the next attempt; gives `error` back where there is to be none.
    fn wait(&mut self, error: Error, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        self.failures += 1;
        match PAUSES.get(self.failures - 1) {
            Some(pause) if error.may_pass() => {
                progress(Progress::Retries { file, failures: self.failures });
                thread::sleep(*pause);
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// Says of a failure that would pass that it did not.
fn broken(error: Error, file: &str, partial: &Partial, patience: &Patience) -> Error {
    match error {
        Error::Network { reason, .. } => Error::Broken {
            file: file.to_owned(),
            done: partial.length,
            total: partial.size,
            attempts: patience.failures,
            reason,
        },
        other => other,
    }
}

/// Fetches what is missing of a file, until it is whole or the connection breaks.
fn receive(
    client: &Client,
    url: &str,
    file: &str,
    partial: &mut Partial,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    if partial.length == partial.size {
        return Ok(());
    }
    let response = client.content(url, file, partial.length)?;
    let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
    if response.status() != 206 {
        // The whole file: it was asked for, or the server knows no ranges.
        partial.restart()?;
    } else if !range.is_some_and(|range| range.starts_with(&format!("bytes {}-", partial.length))) {
        let message = format!("asked for the bytes from {}, it sends {range:?}", partial.length);
        return Err(Error::answer(url, message));
    }
    let broke = |reason: String| Error::Network { url: url.to_owned(), reason };
    let mut body = response.into_body().into_reader();
    let mut piece = vec![0; PIECE];
    progress(Progress::Bytes { file, done: partial.length, total: partial.size });
    loop {
        let count = match body.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|error| broke(error.to_string()))?,
        };
        if count == 0 {
            break;
        }
        if partial.size - partial.length < count as u64 {
            return Err(Error::answer(
                url,
                format!("it sends more than the {} bytes announced", partial.size),
            ));
        }
        partial.write(&piece[..count])?;
        progress(Progress::Bytes { file, done: partial.length, total: partial.size });
    }
    if partial.length < partial.size {
        return Err(broke("the connection was closed".to_owned()));
    }
    Ok(())
}

/// A file that grows, and the checksum of what is there.
struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
    /// Of the whole file.
    size: u64,
    checksum: Sha256,
}

impl Partial {
    /// Opens what an earlier run left, or begins.
    fn open(path: PathBuf, size: u64) -> Result<Self> {
        let mut file =
            File::options().create(true).read(true).append(true).open(&path).map_err(Error::cache(&path))?;
        let mut checksum = Sha256::new();
        let length = io::copy(&mut file, &mut Hashed(&mut checksum)).map_err(Error::cache(&path))?;
        let mut partial = Self { path, file, length, size, checksum };
        if length > size {
            partial.restart()?;
        }
        Ok(partial)
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(Error::cache(&self.path))?;
        self.length = 0;
        self.checksum = Sha256::new();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::cache(&self.path))?;
        self.checksum.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes the whole file the blob, once it is what the Hub announced.
    fn finish(self, file: &str, etag: &str, blob: &PathBuf) -> Result<()> {
        self.file.sync_all().map_err(Error::cache(&self.path))?;
        // Windows renames no open file.
        drop(self.file);
        // Of large files the ETag is the SHA-256; of the others Git's own, which is of another kind and shorter.
        let found: String = self.checksum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if etag.len() == found.len() && etag != found {
            fs::remove_file(&self.path).map_err(Error::cache(&self.path))?;
            return Err(Error::Damaged { file: file.to_owned(), expected: etag.to_owned(), found });
        }
        fs::rename(&self.path, blob).map_err(Error::cache(blob))
    }
}

/// Takes bytes into a checksum.
struct Hashed<'a>(&'a mut Sha256);

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
