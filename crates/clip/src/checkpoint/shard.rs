//! One safetensors file: a header length of eight bytes, a JSON header, and the tensors' bytes without gaps.

use std::fmt;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use safetensors::tensor::Metadata;

use super::TensorView;
use crate::StandIn;
use crate::error::{Error, Result};

/// Bytes of the header length at the start of the file.
const LENGTH_BYTES: usize = 8;
/// Longest header accepted, enough for some fifty thousand tensors; CLIPSeg has four hundred. Parsed, a
/// header takes ten times as much memory.
const MAX_HEADER: u64 = 8 << 20;
/// The limit of the reference implementation. A longer header length means that the file is not safetensors
/// at all; between the two limits, it may be another model's.
const MAX_HEADER_OF_ANY: u64 = 100_000_000;

/// One file of weights, its header parsed and checked against its length.
///
/// Tensors are read on demand, not mapped. The pages of a mapped file would count as the process's own
/// memory, in addition to the device's copy; and if someone else truncated the file meanwhile, the process
/// would be killed instead of a read failing.
pub(super) struct Shard {
    /// The file, or the label that the caller gave the bytes.
    path: PathBuf,
    bytes: Bytes,
    metadata: Metadata,
    /// Offset of the first tensor's bytes in the file.
    data: u64,
}

/// Where the file's bytes come from.
enum Bytes {
    Reader(Mutex<Box<dyn ReadSeek>>),
    /// The whole file.
    Memory(Box<dyn AsRef<[u8]> + Send + Sync>),
}

/// A reader that can seek.
trait ReadSeek: Read + Seek + Send {}

impl<R: Read + Seek + Send> ReadSeek for R {}

impl Shard {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = clipseg_files::open(path).map_err(|source| Error::read(path, source))?;
        Self::of_reader(path, file)
    }

    pub(super) fn of_reader(path: &Path, mut reader: impl Read + Seek + Send + 'static) -> Result<Self> {
        let (metadata, data) = parse(path, &mut reader)?;
        let bytes = Bytes::Reader(Mutex::new(Box::new(reader)));
        Ok(Self { path: path.to_owned(), bytes, metadata, data })
    }

    pub(super) fn of_bytes(path: &Path, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self> {
        let (metadata, data) = parse(path, &mut Cursor::new(bytes.as_ref()))?;
        Ok(Self { path: path.to_owned(), bytes: Bytes::Memory(Box::new(bytes)), metadata, data })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    pub(super) fn view(&self, name: &str) -> Option<TensorView<'_>> {
        Some(TensorView::new(self, name, self.metadata.info(name)?))
    }

    /// Fills `bytes` with those that start `offset` bytes after the header.
    pub(super) fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        // `parse_header` has checked that the last tensor ends where the file does, so the sum cannot
        // overflow.
        let start = self.data + offset as u64;
        let read = match &self.bytes {
            Bytes::Reader(reader) => read_at(reader, start, bytes),
            Bytes::Memory(all) => {
                (**all).as_ref().get(start as usize..).unwrap_or_default().read_exact(bytes)
            }
        };
        read.map_err(|source| Error::read(&self.path, source))
    }

    /// The same shard in memory; `None` if it is there already.
    pub(super) fn kept(&self) -> Result<Option<Self>> {
        let Bytes::Reader(reader) = &self.bytes else { return Ok(None) };
        let mut all = vec![0; self.data as usize + self.metadata.data_len()];
        read_at(reader, 0, &mut all).map_err(|source| Error::read(&self.path, source))?;
        let (path, metadata) = (self.path.clone(), self.metadata.clone());
        Ok(Some(Self { path, bytes: Bytes::Memory(Box::new(all)), metadata, data: self.data }))
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("path", &self.path).finish_non_exhaustive()
    }
}

fn read_at(reader: &Mutex<Box<dyn ReadSeek>>, start: u64, bytes: &mut [u8]) -> std::io::Result<()> {
    // A thread that panicked here can only have moved the reader's position, which is set anew below.
    let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
    reader.seek(SeekFrom::Start(start))?;
    reader.read_exact(bytes)
}

/// Parses the header and returns it with the offset of the first tensor's bytes.
fn parse(path: &Path, file: &mut (impl Read + Seek)) -> Result<(Metadata, u64)> {
    let refused = |source| Error::read(path, source);
    let length = file.seek(SeekFrom::End(0)).map_err(refused)?;
    file.rewind().map_err(refused)?;
    if let Some(stand_in) = recognise(file).map_err(refused)? {
        return Err(Error::StandIn { path: path.to_owned(), stand_in });
    }
    let header = read_header(file, length).map_err(refused)?;
    header
        .and_then(|header| parse_header(&header, length))
        .map_err(|message| Error::checkpoint(path, message))
}

/// Recognises by its first bytes a file that is not weights, and rewinds it.
fn recognise(file: &mut (impl Read + Seek)) -> std::io::Result<Option<StandIn>> {
    let mut start = Vec::new();
    file.by_ref().take(256).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(StandIn::recognise(&start))
}

/// Reads the header's text. The outer result tells whether the file could be read, the inner one whether its
/// contents are valid.
fn read_header(file: &mut impl Read, length: u64) -> std::io::Result<Result<Vec<u8>, String>> {
    let mut bytes = [0; LENGTH_BYTES];
    if length < LENGTH_BYTES as u64 {
        return Ok(Err(format!("is not a safetensors file: it has {length} bytes")));
    }
    file.read_exact(&mut bytes)?;
    let header = u64::from_le_bytes(bytes);
    if header > MAX_HEADER_OF_ANY {
        return Ok(Err(not_safetensors(&bytes)));
    }
    let rest = length - LENGTH_BYTES as u64;
    if header > rest {
        return Ok(Err(format!(
            "is truncated: its header is {header} bytes long, only {rest} follow; download it again"
        )));
    }
    if header > MAX_HEADER {
        return Ok(Err(format!(
            "has a header of {header} bytes; the limit is {MAX_HEADER}, and a model's has some hundred thousand"
        )));
    }
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text)?;
    Ok(Ok(text))
}

/// What a file is whose first eight bytes cannot be a header length.
fn not_safetensors(start: &[u8; LENGTH_BYTES]) -> String {
    let text = std::str::from_utf8(start).ok().filter(|text| !text.contains(char::is_control));
    match text {
        _ if start.starts_with(b"PK") => {
            "is not a safetensors file but a zip archive, as PyTorch saves its weights: \
             `clipseg convert` makes safetensors of those"
                .to_owned()
        }
        Some(text) => format!(
            "is not a safetensors file but a text that begins with {text:?}, as an error's message does: download the \
             file again"
        ),
        None => format!(
            "is not a safetensors file: it begins with a header length of {} bytes, the limit is {MAX_HEADER_OF_ANY}",
            u64::from_le_bytes(*start)
        ),
    }
}

/// Parses the header of a file of `length` bytes and returns it with the offset of the first tensor's bytes.
///
/// The `safetensors` crate checks that the header is consistent in itself: tensors follow each other without
/// gaps or overlaps, and each is as long as its shape and type say. Whether the header fits the file is
/// checked here, for two reasons: the crate adds lengths, and a hostile header can make that sum overflow;
/// and a message should say how many bytes a download lacks.
fn parse_header(header: &[u8], length: u64) -> Result<(Metadata, u64), String> {
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|error| format!("has a bad header: {error}"))?;
    let data = (LENGTH_BYTES + header.len()) as u64;
    let (declared, found) = (metadata.data_len() as u64, length - data);
    if declared > found {
        return Err(format!(
            "is truncated: its header declares {declared} bytes of tensors, {found} are there; download it again"
        ));
    }
    if declared < found {
        return Err(format!("has {} bytes after the {declared} that its header declares", found - declared));
    }
    Ok((metadata, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.resize(file.len() + data, 0);
        file
    }

    fn parse(mut file: &[u8]) -> Result<(Metadata, u64), String> {
        let length = file.len() as u64;
        let header = read_header(&mut file, length).expect("a slice is read without fail")?;
        parse_header(&header, length)
    }

    fn refused(file: &[u8]) -> String {
        parse(file).map(|_| ()).expect_err("the header should be refused")
    }

    const GOOD: &str = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;

    #[test]
    fn accepts_a_good_header() {
        let (metadata, data) = parse(&file(GOOD, 16)).unwrap();
        assert_eq!(metadata.info("a").unwrap().shape, [2, 2]);
        assert_eq!(data, 8 + GOOD.len() as u64);
    }

    #[test]
    fn says_what_a_truncated_file_lacks() {
        let whole = file(GOOD, 16);
        assert!(refused(&whole[..5]).contains("it has 5 bytes"));
        assert!(refused(&whole[..20]).contains("only 12 follow"));
        assert!(refused(&whole[..whole.len() - 1]).contains("declares 16 bytes of tensors, 15 are there"));
        assert!(refused(&file(GOOD, 17)).contains("1 bytes after"));
    }

    #[test]
    fn refuses_headers_that_lie() {
        let overlapping = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        let gap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        let wrong_size = r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#;
        let overflow = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}}"#;
        let backwards = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[8,0]}}"#;
        let unknown_type = r#"{"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}"#;
        let duplicate = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#;
        for header in
            [overlapping, gap, wrong_size, overflow, backwards, unknown_type, duplicate, "[]", "{", ""]
        {
            assert!(refused(&file(header, 12)).contains("bad header"), "{header}");
        }
        assert!(refused(b"Entry not found").contains("a text that begins with \"Entry no\""));
        assert!(refused(b"PK\x03\x04\0\0\x08\x08and more").contains("clipseg convert"));
        let mut long = file(GOOD, 16);
        long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(refused(&long).contains("the limit is"));
        let long = file(&" ".repeat(MAX_HEADER as usize + 1), 0);
        assert!(refused(&long).contains("has a header of 8388609 bytes"), "{}", refused(&long));
    }

    /// Each tensor is short enough to pass its own length check, but their ends add up to more than the
    /// address space.
    #[test]
    fn a_header_that_wraps_round_is_truncated_not_accepted() {
        let half = 1_usize << 60;
        let entries: Vec<_> = (0..8)
            .map(|i| {
                format!(
                    r#""{i}":{{"dtype":"U8","shape":[{half}],"data_offsets":[{},{}]}}"#,
                    i * half,
                    (i + 1) * half
                )
            })
            .collect();
        let header = format!("{{{}}}", entries.join(","));
        assert!(refused(&file(&header, 12)).contains("truncated"));
    }
}
