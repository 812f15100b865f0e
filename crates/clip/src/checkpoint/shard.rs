//! One safetensors file: eight bytes of header length, a JSON header, the tensors' bytes without a gap.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;

use super::TensorView;
use crate::error::{Error, Result};

/// Bytes of the number at the beginning that says how long the header is.
const LENGTH_BYTES: usize = 8;
/// Longest header accepted, as the reference implementation has it.
const MAX_HEADER: usize = 100_000_000;

/// One file of weights, its header parsed and checked against its length.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    bytes: FileBytes,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    data: usize,
}

impl Shard {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bytes = FileBytes::open(path).map_err(|source| Error::read(path, source))?;
        let (metadata, data) = parse_header(&bytes).map_err(|message| Error::checkpoint(path, message))?;
        Ok(Self { path: path.to_owned(), bytes, metadata, data })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    pub(super) fn view(&self, name: &str) -> Option<TensorView<'_>> {
        let info = self.metadata.info(name)?;
        let (start, end) = info.data_offsets;
        // `parse_header` has checked that the last tensor ends where the file does, so these sums cannot overflow.
        let bytes = self.bytes.get(self.data + start..self.data + end)?;
        Some(TensorView::new(&self.path, name, info, bytes))
    }
}

/// Parses the header and returns it with the position of the first tensor's bytes.
///
/// The `safetensors` crate checks the header in itself: tensors that follow each other without gap or overlap, each
/// as long as its shape and type say. How it lies in the file is checked here, for two reasons: the crate adds
/// lengths that a hostile header can make overflow, and a message should say how many bytes a download lacks.
fn parse_header(file: &[u8]) -> Result<(Metadata, usize), String> {
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(format!("is no safetensors file: it has {} bytes", file.len()));
    };
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length).ok().filter(|&length| length <= MAX_HEADER);
    let Some(header) = header else {
        return Err(format!(
            "is no safetensors file: it begins with a header length of {length} bytes, the limit is {MAX_HEADER}"
        ));
    };
    if header > rest.len() {
        return Err(format!(
            "is truncated: its header is {header} bytes long, only {} follow; download it again",
            rest.len()
        ));
    }
    let (header, tensors) = rest.split_at(header);
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|error| format!("has a bad header: {error}"))?;
    let (declared, found) = (metadata.data_len(), tensors.len());
    if declared > found {
        return Err(format!(
            "is truncated: its header declares {declared} bytes of tensors, {found} are there; download it again"
        ));
    }
    if declared < found {
        return Err(format!("has {} bytes after the {declared} that its header declares", found - declared));
    }
    Ok((metadata, LENGTH_BYTES + header.len()))
}

/// The contents of a file.
#[derive(Debug)]
struct FileBytes {
    #[cfg(not(target_family = "wasm"))]
    bytes: memmap2::Mmap,
    #[cfg(target_family = "wasm")]
    bytes: Vec<u8>,
}

impl FileBytes {
    #[cfg(not(target_family = "wasm"))]
    fn open(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::File::open(path)?;
        // SAFETY: the map is private to this process and read-only, and is only lent out for as long as it lives.
        // What remains is that someone else changes the file meanwhile: then weights read as other weights, or, cut
        // short, the process gets a bus error. Every reader of mapped checkpoints takes that risk, since a copy of
        // the file would cost as much memory again; no value read from the map is trusted to stay valid for memory
        // safety, because the header is copied out before it is checked and tensors are plain numbers.
        let bytes = unsafe { memmap2::Mmap::map(&file) }?;
        Ok(Self { bytes })
    }

    #[cfg(target_family = "wasm")]
    fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { bytes: std::fs::read(path)? })
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
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

    fn refused(file: &[u8]) -> String {
        parse_header(file).map(|_| ()).expect_err("the header should be refused")
    }

    const GOOD: &str = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;

    #[test]
    fn accepts_a_good_header() {
        let (metadata, data) = parse_header(&file(GOOD, 16)).unwrap();
        assert_eq!(metadata.info("a").unwrap().shape, [2, 2]);
        assert_eq!(data, 8 + GOOD.len());
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
        let mut long = file(GOOD, 16);
        long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(refused(&long).contains("the limit is"));
    }

    /// Two tensors, each just short of what its own length check refuses, whose end wraps round the address space.
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
