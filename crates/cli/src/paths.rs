//! Paths in reports.

use std::fmt;
use std::path::Path;

use clipseg_files::printable;
use serde::{Serialize, Serializer};

/// A path that can be printed as JSON whatever bytes it has: those that are not UTF-8 are written as `\xE9`.
#[derive(Clone, Copy)]
pub struct PathText<P>(pub P);

impl<P: AsRef<Path>> PathText<P> {
    /// The path for a terminal.
    pub fn printable(&self) -> String {
        printable(&self.to_string())
    }
}

impl<P: AsRef<Path>> fmt::Display for PathText<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_ref().as_os_str().as_encoded_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl<P: AsRef<Path>> Serialize for PathText<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn bytes_that_are_not_utf_8_are_escaped() {
        let json =
            |name: &[u8]| serde_json::to_string(&PathText(Path::new(OsStr::from_bytes(name)))).unwrap();
        assert_eq!(json("b/ü \"a\".png".as_bytes()), r#""b/ü \"a\".png""#);
        assert_eq!(json(b"caf\xe9/\xff.png"), r#""caf\\xE9/\\xFF.png""#);
    }
}
