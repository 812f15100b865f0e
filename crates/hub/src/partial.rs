//! A file in the cache that grows until it is complete.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::checksum::Checksum;
use crate::client::Size;
use crate::error::{Error, Result};

/// The part of a file that has arrived.
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
    size: Size,
}

impl Partial {
    /// Opens what an earlier run left, or creates the file.
    pub fn open(path: PathBuf, size: Size) -> Result<Self> {
        let file = File::options().create(true).append(true).open(&path).map_err(Error::cache(&path))?;
        let length = file.metadata().map_err(Error::cache(&path))?.len();
        let mut partial = Self { path, file, length, size };
        if size.bytes().is_some_and(|size| length > size) {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// Bytes that have arrived.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of the whole file, if known.
    pub fn total(&self) -> Option<u64> {
        self.size.bytes()
    }

    /// Whether all bytes have arrived, as far as is known.
    pub fn is_whole(&self) -> bool {
        self.total() == Some(self.length)
    }

    /// Sets the size that is announced with the content. The error is the Hub's certain size, if that
    /// differs.
    pub fn announce(&mut self, total: u64) -> Result<(), u64> {
        match self.size {
            Size::Certain(size) if size != total => Err(size),
            Size::Certain(_) => Ok(()),
            Size::Likely(_) | Size::Unknown => {
                self.size = Size::Likely(total);
                Ok(())
            }
        }
    }

    /// Discards what has arrived.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(Error::cache(&self.path))?;
        self.length = 0;
        Ok(())
    }

    /// Appends what has arrived.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::cache(&self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Moves the complete file to the blob, if it is what the Hub announced. The checksum is computed from
    /// the file on disk, because another process may have written to it.
    pub fn finish(self, file: &str, etag: &str, checksum: Option<Checksum>, blob: &Path) -> Result<()> {
        self.file.sync_all().map_err(Error::cache(&self.path))?;
        // Windows does not rename open files.
        drop(self.file);
        let checked = checksum.map(|checksum| (checksum.name(), checksum.check(&self.path, etag)));
        if let Some((kind, checked)) = checked
            && let Err(found) = checked.map_err(Error::cache(&self.path))?
        {
            fs::remove_file(&self.path).map_err(Error::cache(&self.path))?;
            return Err(Error::Damaged { file: file.to_owned(), kind, expected: etag.to_owned(), found });
        }
        fs::rename(&self.path, blob).map_err(Error::cache(blob))
    }
}
