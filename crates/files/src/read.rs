//! Reads files whose paths come from the user or from a checkpoint.

use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Opens a regular file and refuses anything else: opening a named pipe would wait for a writer, and reading
/// a device may never end.
///
/// # Errors
/// Where the file cannot be opened, or is not a regular file; the message says what it is.
pub fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() {
        let is_folder = if kind.is_dir() { ErrorKind::IsADirectory } else { ErrorKind::InvalidInput };
        return Err(io::Error::new(is_folder, format!("it is {}, not a regular file", named(kind))));
    }
    File::open(path)
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], and where the file is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let too_large = |length: u64| {
        let message = format!("it has {length} bytes; such a file has at most {most}");
        io::Error::new(ErrorKind::FileTooLarge, message)
    };
    let length = file.metadata()?.len();
    if length > most {
        return Err(too_large(length));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    // Some system files report a length of 0 but have contents.
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// Whether this is a regular file that starts with these bytes; not where it cannot be read.
pub fn starts_with(path: &Path, start: &[u8]) -> bool {
    let mut found = vec![0; start.len()];
    open(path).and_then(|mut file| file.read_exact(&mut found)).is_ok() && found == start
}

/// As [`read`], a text in UTF-8, as [`text`] takes it.
///
/// # Errors
/// As [`read`] and [`text`].
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    text(read(path, most)?)
}

/// A file's text, in UTF-8. A byte order mark, which editors on Windows put before it, is left out.
///
/// # Errors
/// [`ErrorKind::InvalidData`] where it is not UTF-8.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(bytes)
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.utf8_error()))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Says what a file that is not a regular one is.
fn named(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a folder" } else { "something else" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_no_byte_order_mark_and_is_utf8() {
        assert_eq!(text("\u{feff}a\u{feff}".as_bytes().to_vec()).unwrap(), "a\u{feff}");
        assert_eq!(text(b"a".to_vec()).unwrap(), "a");
        assert_eq!(text(vec![0xff, 0xfe]).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn files_are_read_up_to_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        let error = read(&path, 3).unwrap_err();
        assert_eq!(error.to_string(), "it has 4 bytes; such a file has at most 3");
        assert!(starts_with(&path, b"fou") && starts_with(&path, b"four"));
        assert!(
            !starts_with(&path, b"far") && !starts_with(&path, b"fours") && !starts_with(folder.path(), b"")
        );
        assert_eq!(read(&folder.path().join("none"), 3).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read(folder.path(), 3).unwrap_err().to_string(), "it is a folder, not a regular file");
    }

    #[test]
    #[cfg(unix)]
    fn what_is_not_a_file_is_named_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, name) in
            [(pipe.as_path(), "a named pipe"), (&socket, "a socket"), (Path::new("/dev/zero"), "a device")]
        {
            assert!(open(path).unwrap_err().to_string().contains(name), "{name}");
        }
    }
}
