//! The driver's pipeline cache, kept in a file from one process to the next.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clipseg_shaders::kernels;

use crate::adapter;
use crate::cache_file::{fingerprint, replace};
use crate::checksum;

/// Where compiled pipelines are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipelineStore {
    /// A folder with one file per adapter. Drivers trust the data that they once wrote, so nobody else should
    /// be able to write to the folder.
    Folder(PathBuf),
    /// A cache that a host made on its own device and keeps as it likes. It is for
    /// [`Device::from_wgpu`](crate::Device::from_wgpu) alone.
    Cache(wgpu::PipelineCache),
}

impl From<PathBuf> for PipelineStore {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

/// What a device compiles its pipelines with.
pub(crate) enum OpenStore {
    File(PipelineFile),
    Cache(wgpu::PipelineCache),
}

impl OpenStore {
    /// `None` where the device keeps no pipelines.
    pub fn open(store: &PipelineStore, gpu: &wgpu::Device, info: &wgpu::AdapterInfo) -> Option<Self> {
        match store {
            PipelineStore::Folder(folder) => PipelineFile::open(folder, gpu, info).map(Self::File),
            PipelineStore::Cache(cache) => Some(Self::Cache(cache.clone())),
        }
    }

    /// The cache to compile with.
    pub fn cache(&self) -> &wgpu::PipelineCache {
        match self {
            Self::File(file) => &file.cache,
            Self::Cache(cache) => cache,
        }
    }

    /// Writes the driver's current data to the file, if there is one.
    pub fn save(&self) {
        match self {
            Self::File(file) => file.save(),
            Self::Cache(_) => (),
        }
    }
}

/// The driver's own cache of pipelines, and the file that outlives it. There is one for each adapter.
///
/// It spares the next process the translation of shaders to machine code. Desktop drivers keep caches of
/// their own, so it gains little there. It is for drivers that leave caching to the application, as on
/// Android, or whose own cache is off.
pub(crate) struct PipelineFile {
    path: PathBuf,
    /// A hash of all that the data depend on: adapter, driver, version and kernels.
    subject: String,
    cache: wgpu::PipelineCache,
    /// The checksum of the data that the file is known to have.
    saved: Mutex<Option<u64>>,
}

impl PipelineFile {
    /// Gives the driver the data in its file in `folder`, or none where the file is missing or damaged.
    /// `None` where the device keeps no pipelines.
    fn open(folder: &Path, gpu: &wgpu::Device, info: &wgpu::AdapterInfo) -> Option<Self> {
        if !gpu.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let adapter = wgpu::util::pipeline_cache_key(info)?;
        let path = folder.join(format!("{}.pipelines", fingerprint([&*adapter])));
        // A change of the kernels starts a new cache: kernels that no longer exist would stay in the old one
        // for ever.
        let driver = adapter::describe(info);
        let sources = kernels::ALL.iter().map(|kernel| kernel.source);
        let subject =
            fingerprint([&*adapter, &*driver, env!("CARGO_PKG_VERSION")].into_iter().chain(sources));
        let data = match read(&path, &subject) {
            Ok(data) => Some(data),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!("{}: {error}; it will be written anew", path.display());
                None
            }
        };
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("clipseg"),
            data: data.as_deref(),
            // Data that the driver no longer accepts are ignored, without an error.
            fallback: true,
        };
        // SAFETY: the data are `PipelineCache::get_data`'s: `read` returns only data behind a header that
        // `save` wrote for this adapter, driver, version and kernels, of that length and checksum. The
        // checksum finds damage but not forgery, which is why `PipelineStore::Folder` asks for a folder that
        // others cannot write to.
        let cache = unsafe { gpu.create_pipeline_cache(&descriptor) };
        let saved = Mutex::new(data.map(checksum));
        Some(Self { path, subject, cache, saved })
    }

    /// Writes the driver's current data, unless the file has them already.
    fn save(&self) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(data) = self.cache.get_data() else { return };
        let sum = checksum(data.iter().copied());
        if *saved == Some(sum) {
            return;
        }
        match replace(&self.path, &[header(&self.subject, &data).as_bytes(), &data].concat()) {
            Ok(()) => *saved = Some(sum),
            Err(error) => {
                log::warn!("{}: {error}; the next process will compile again", self.path.display());
            }
        }
    }
}

const MAGIC: &str = "clipseg pipelines";

/// The line before the data.
fn header(subject: &str, data: &[u8]) -> String {
    format!("{MAGIC} {subject} {} {:016x}\n", data.len(), checksum(data.iter().copied()))
}

/// The data of the file, which has to be undamaged and of this subject.
fn read(path: &Path, subject: &str) -> io::Result<Vec<u8>> {
    let mut bytes = fs::read(path)?;
    let length = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |index| index + 1);
    let data = bytes.split_off(length);
    if bytes == header(subject, &data).as_bytes() {
        return Ok(data);
    }
    let is_ours = bytes.starts_with(format!("{MAGIC} {subject} ").as_bytes());
    let reason = if is_ours { "is damaged" } else { "is of another adapter, driver or version, or damaged" };
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "0123456789abcdef";

    fn write(path: &Path, subject: &str, data: &[u8]) -> Vec<u8> {
        let bytes = [header(subject, data).as_bytes(), data].concat();
        fs::write(path, &bytes).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for data in [&b"\n\n any bytes \xff\0\n"[..], b""] {
            write(&path, SUBJECT, data);
            assert_eq!(read(&path, SUBJECT).unwrap(), data);
        }
    }

    #[test]
    fn no_damage_passes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let whole = write(&path, SUBJECT, b"what the driver compiled\nin two lines");
        let is_refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read(&path, SUBJECT).is_err_and(|error| error.kind() == io::ErrorKind::InvalidData)
        };
        for index in 0..whole.len() {
            assert!(is_refused(&whole[..index]), "cut at {index}");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[index] ^= 1 << bit;
                assert!(is_refused(&flipped), "bit {bit} of byte {index}");
            }
        }
        assert!(is_refused(&[&*whole, b"more"].concat()));
        assert!(is_refused(&[0; 100]));
        assert!(!is_refused(&whole));
    }

    #[test]
    fn another_subjects_file_and_a_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, "another driver's", b"data");
        assert!(read(&path, SUBJECT).unwrap_err().to_string().contains("another adapter"));
        assert!(read(folder.path(), SUBJECT).is_err());
    }
}
