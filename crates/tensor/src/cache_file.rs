//! Files in a cache folder, in which a process leaves what it found out to later ones.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::checksum;

/// Replaces the file atomically: readers never see a part of it, even while several writers replace it.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // A name that no other process uses, and no other device of this process.
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let new = file.with_extension(format!("{}-{number}.new", std::process::id()));
    fs::write(&new, bytes).and_then(|()| fs::rename(&new, file)).inspect_err(|_| {
        // The new file is useless where it cannot take the old one's place; failing to remove it does no
        // further harm.
        let _ = fs::remove_file(&new);
    })
}

/// A checksum of texts and of where each ends, to name a file by.
pub(crate) fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    format!("{:016x}", checksum(texts.into_iter().flat_map(|text| text.bytes().chain([0xff]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_texts_and_their_ends_apart() {
        assert_eq!(fingerprint(["a", "b"]), fingerprint(["a", "b"]));
        let others = [fingerprint(["ab"]), fingerprint(["a", "b", ""]), fingerprint(["b", "a"])];
        assert!(others.iter().all(|other| *other != fingerprint(["a", "b"])));
    }

    #[test]
    fn those_who_write_at_once_leave_one_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("made").join("file");
        std::thread::scope(|scope| {
            for byte in 0..8_u8 {
                let file = &file;
                scope.spawn(move || (0..20).for_each(|_| replace(file, &vec![byte; 1 << 16]).unwrap()));
            }
        });
        let bytes = fs::read(&file).unwrap();
        assert!(bytes.len() == 1 << 16 && bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_replaced_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(replace(&taken, b"bytes").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
