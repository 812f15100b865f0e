//! Reads the zip archive of a PyTorch file: entries by name, none of them compressed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use clipseg_files::shown;
use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder};

/// Most entries of an archive. PyTorch writes about one per tensor.
const MAX_ENTRIES: usize = 1 << 20;

/// An open archive.
pub(crate) struct Zip {
    archive: ZipArchive<FileReader>,
    /// Bytes of the whole file.
    length: u64,
    entries: BTreeMap<String, Entry>,
    /// Whether there are checksums. Where `torch.serialization.set_crc32_options(False)` had been called, all
    /// are 0.
    has_checksums: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    place: ZipArchiveEntryWayfinder,
    /// Whether its bytes are stored as they are, neither compressed nor encrypted.
    plain: bool,
}

impl Zip {
    /// Reads the archive's directory.
    pub(crate) fn open(file: File) -> Result<Self, String> {
        let broken = |error: &dyn std::error::Error| {
            format!("is not a whole zip archive, as PyTorch's files are ({error}); download it again")
        };
        let length = file.metadata().map_err(|error| broken(&error))?.len();
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(|error| broken(&error))?;
        let mut entries = BTreeMap::new();
        let mut has_checksums = false;
        let mut records = archive.entries(&mut buffer);
        while let Some(record) = records.next_entry().map_err(|error| broken(&error))? {
            let name = String::from_utf8_lossy(record.file_path().as_bytes()).into_owned();
            has_checksums |= record.crc32() != 0;
            let plain =
                record.compression_method() == CompressionMethod::STORE && !record.flags().is_encrypted();
            if entries.insert(name.clone(), Entry { place: record.wayfinder(), plain }).is_some() {
                return Err(format!("has two entries {:?}; PyTorch does not write such", shown(&name)));
            }
            if entries.len() > MAX_ENTRIES {
                return Err(format!("has more than {MAX_ENTRIES} entries; a model has a few hundred"));
            }
        }
        Ok(Self { archive, length, entries, has_checksums })
    }

    /// Names of all entries.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The size of an entry in bytes; fails if the entry cannot be read.
    pub(crate) fn size(&self, name: &str) -> Result<u64, String> {
        self.find(name).map(|entry| entry.place.uncompressed_size_hint())
    }

    /// Reads a whole entry and checks its length, and its checksum if the archive has any.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let broken = |error: &dyn std::error::Error| {
            format!("has a damaged entry {} ({error}); download it again", shown(name))
        };
        let entry = self.archive.get_entry(self.find(name)?.place).map_err(|error| broken(&error))?;
        // `find` has checked that the size is at most that of the file.
        let size = self.size(name)? as usize;
        let mut bytes = Vec::with_capacity(size);
        let read = match self.has_checksums {
            true => entry.verifying_reader(entry.reader()).read_to_end(&mut bytes),
            false => entry.reader().read_to_end(&mut bytes),
        };
        read.map_err(|error| broken(&error))?;
        if bytes.len() != size {
            return Err(format!(
                "has {} bytes in {}, not {size}; download it again",
                bytes.len(),
                shown(name)
            ));
        }
        Ok(bytes)
    }

    fn find(&self, name: &str) -> Result<Entry, String> {
        let entry = *self
            .entries
            .get(name)
            .ok_or_else(|| format!("has no entry {}; download it again", shown(name)))?;
        if !entry.plain {
            return Err(format!(
                "has {} compressed or encrypted, which PyTorch does not do; re-save it with torch.save",
                shown(name)
            ));
        }
        let (size, stored) = (entry.place.uncompressed_size_hint(), entry.place.compressed_size_hint());
        if size != stored || size > self.length {
            return Err(format!(
                "claims {size} bytes in {stored} for {}, in a file of {}; download it again",
                shown(name),
                self.length
            ));
        }
        Ok(entry)
    }
}
