//! Compares a file with the checksum in its ETag.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The kind of checksum that an ETag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// The SHA-256 of a large file.
    Sha256,
    /// Git's SHA-1 of a small file; or the plain SHA-1, from a mirror that stores files by that.
    Sha1,
}

impl Checksum {
    /// The kind of checksum that an ETag is, judged by its length; `None` if it is not a checksum.
    pub fn of(etag: &str) -> Option<Self> {
        let is_hex = etag.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        match etag.len() {
            64 if is_hex => Some(Self::Sha256),
            40 if is_hex => Some(Self::Sha1),
            _ => None,
        }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha1 => "SHA-1",
        }
    }

    /// Compares a file with its ETag; the inner error is the file's own checksum.
    pub fn check(self, path: &Path, etag: &str) -> io::Result<Result<(), String>> {
        let mut file = File::open(path)?;
        let found = match self {
            Self::Sha256 => {
                let mut digest = Sha256::new();
                read(&mut file, |piece| digest.update(piece))?;
                vec![hex(&digest.finalize())]
            }
            Self::Sha1 => {
                let mut git = Sha1::new_with_prefix(format!("blob {}\0", file.metadata()?.len()));
                let mut plain = Sha1::new();
                read(&mut file, |piece| {
                    git.update(piece);
                    plain.update(piece);
                })?;
                vec![hex(&git.finalize()), hex(&plain.finalize())]
            }
        };
        Ok(if found.iter().any(|found| found == etag) { Ok(()) } else { Err(found[0].clone()) })
    }
}

/// Passes all bytes of a file to `take`, piece by piece.
fn read(file: &mut File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = vec![0; 1 << 18];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_held_against_both_kinds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        // As printed by `git hash-object`, `sha1sum` and `sha256sum`.
        for etag in [
            "ce013625030ba8dba906f756967f9e9ca394464a",
            "f572d396fae9206628714fb2ce00f72e94f2258f",
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        ] {
            let checksum = Checksum::of(etag).unwrap();
            assert_eq!(checksum.check(&path, etag).unwrap(), Ok(()), "{etag}");
            assert!(checksum.check(&path, &etag.replace('9', "8")).unwrap().is_err());
        }
        for etag in ["", "5f3c-61c", "0123456789abcdef0123456789abcdef", &"x".repeat(40), &"A".repeat(64)] {
            assert_eq!(Checksum::of(etag), None, "{etag}");
        }
    }
}
