//! PyTorch's files as the tests make and change them.

use std::fs;
use std::io::Write;
use std::path::Path;

use rawzip::{CompressionMethod, Crc32Option, ZipArchive, ZipArchiveWriter};

/// An archive of uncompressed entries.
pub fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    archive_as(CompressionMethod::STORE, Crc32Option::Calculate, entries)
}

/// An archive whose entries claim this compression method, and have these checksums.
pub fn archive_as(method: CompressionMethod, checksum: Crc32Option, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    for (name, contents) in entries {
        let entry = archive.new_file(*name).compression_method(method).crc32(checksum);
        let (mut entry, config) = entry.start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(contents).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

/// The entries of an archive, with their names.
pub fn entries(path: &Path) -> Vec<(String, Vec<u8>)> {
    let whole = fs::read(path).unwrap();
    let zip = ZipArchive::from_slice(&whole).unwrap();
    zip.entries()
        .map(|record| {
            let record = record.unwrap();
            let name = String::from_utf8_lossy(record.file_path().as_bytes()).into_owned();
            let bytes = zip.get_entry(record.wayfinder()).unwrap().data().to_vec();
            (name, bytes)
        })
        .collect()
}

/// An archive of these entries.
pub fn archive_of(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<_> = entries.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    archive(&entries)
}
