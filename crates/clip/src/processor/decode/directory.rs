//! Directories of TIFF data (IFDs): the tags of a TIFF file, and the EXIF tags of a camera in other formats.

use image::metadata::Orientation;

/// The tag for the orientation of a picture.
const ORIENTATION: u16 = 274;

/// The first directory of TIFF data.
pub struct Directory<'a> {
    bytes: &'a [u8],
    is_little_endian: bool,
    entries: Vec<Entry>,
}

struct Entry {
    tag: u16,
    /// Bytes per value, 0 if the kind is unknown.
    size: usize,
    is_integer: bool,
    count: usize,
    /// Offset of the values.
    start: usize,
}

impl<'a> Directory<'a> {
    /// Reads TIFF or BigTIFF data and leaves out damaged entries.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let is_little_endian = match bytes.get(..2)? {
            b"II" => true,
            b"MM" => false,
            _ => return None,
        };
        let mut directory = Self { bytes, is_little_endian, entries: Vec::new() };
        // Bytes of a file offset, of the number of entries, and of one entry.
        let (start, [offset_size, head, entry_size]) = match directory.integer(2, 2)? {
            42 => (directory.integer(4, 4)?, [4, 2, 12]),
            43 => (directory.integer(8, 8)?, [8, 8, 20]),
            _ => return None,
        };
        let start = usize::try_from(start).ok()?;
        let count = directory.integer(start, head)?;
        let first = start.checked_add(head)?;
        for entry in
            (0..usize::try_from(count).ok()?).map_while(|index| first.checked_add(entry_size * index))
        {
            let Some(entry) = directory.entry(entry, offset_size) else { break };
            directory.entries.push(entry);
        }
        Some(directory)
    }

    fn entry(&self, start: usize, offset_size: usize) -> Option<Entry> {
        let tag = self.integer(start, 2)? as u16;
        let (size, is_integer): (usize, _) = match self.integer(start + 2, 2)? {
            1 | 6 | 7 => (1, true),
            3 | 8 => (2, true),
            4 | 9 | 13 => (4, true),
            16..=18 => (8, true),
            // Texts, fractions and floating-point numbers.
            2 => (1, false),
            11 => (4, false),
            5 | 10 | 12 => (8, false),
            _ => (0, false),
        };
        let count = usize::try_from(self.integer(start + 4, offset_size)?).ok()?;
        let inline = start + 4 + offset_size;
        let is_inline = size.checked_mul(count).is_some_and(|bytes| bytes <= offset_size);
        let start =
            if is_inline { inline } else { usize::try_from(self.integer(inline, offset_size)?).ok()? };
        Some(Entry { tag, size, is_integer, count, start })
    }

    /// The integers of a tag, as unsigned numbers; `None` if the tag is missing, has values of another kind,
    /// or reaches beyond the data.
    pub fn integers(&self, tag: u16) -> Option<Vec<u64>> {
        // Checked first, so that a tag cannot claim more values than the data has.
        self.bytes(tag)?;
        let Entry { size, count, start, .. } = *self.find(tag)?;
        (0..count).map(|index| self.integer(start + size * index, size)).collect()
    }

    /// The first integer of a tag.
    pub fn first(&self, tag: u16) -> Option<u64> {
        self.integers(tag)?.first().copied()
    }

    /// The byte range of a tag's first integer.
    pub fn first_range(&self, tag: u16) -> Option<std::ops::Range<usize>> {
        let Entry { size, count, start, .. } = *self.find(tag)?;
        let end = start.checked_add(size)?;
        (count > 0 && end <= self.bytes.len()).then_some(start..end)
    }

    /// The bytes of a tag.
    pub fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        let Entry { size, count, start, .. } = *self.find(tag)?;
        self.bytes.get(start..start.checked_add(size.checked_mul(count)?)?)
    }

    /// The first of these tags, of whatever kind, that claims more values than the data can have.
    pub fn beyond(&self, tags: &[u16]) -> Option<u16> {
        let is_beyond = |entry: &&Entry| {
            let end = entry.size.checked_mul(entry.count).and_then(|bytes| entry.start.checked_add(bytes));
            end.is_none_or(|end| end > self.bytes.len())
        };
        self.entries.iter().filter(|entry| tags.contains(&entry.tag)).find(is_beyond).map(|entry| entry.tag)
    }

    /// The orientation of the picture, from an integer of any size.
    pub fn orientation(&self) -> Option<Orientation> {
        Orientation::from_exif(u8::try_from(self.first(ORIENTATION)?).ok()?)
    }

    /// The bytes of an integer in the data's byte order.
    pub fn to_bytes(&self, value: u64, size: usize) -> Vec<u8> {
        match self.is_little_endian {
            true => value.to_le_bytes()[..size].to_vec(),
            false => value.to_be_bytes()[8 - size..].to_vec(),
        }
    }

    fn find(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag && entry.is_integer)
    }

    fn integer(&self, start: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(start..start.checked_add(size)?)?;
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(match self.is_little_endian {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn orientations_are_integers_of_any_size() {
        let exif = |kind: u8, value: [u8; 4]| {
            let mut bytes = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0".to_vec();
            bytes.extend([kind, 0, 0, 0, 1]);
            bytes.extend(value);
            bytes
        };
        let orientation = |kind, value| Directory::read(&exif(kind, value)).unwrap().orientation();
        for (kind, value) in [(1, [6, 0, 0, 0]), (3, [0, 6, 0, 0]), (4, [0, 0, 0, 6]), (9, [0, 0, 0, 6])] {
            assert_eq!(orientation(kind, value), Some(Orientation::Rotate90), "{kind}");
        }
        for (kind, value) in [(4, [0, 0, 1, 6]), (3, [0, 9, 0, 0]), (2, [6, 0, 0, 0]), (5, [0, 0, 0, 6])] {
            assert_eq!(orientation(kind, value), None, "{kind}");
        }
    }

    proptest! {
        /// For any bytes, reading ends and never goes beyond them.
        #[test]
        fn any_bytes_are_read(
            mut bytes in proptest::collection::vec(any::<u8>(), 8..200),
            (order, version) in (0..2_usize, 42..44_u8),
            start in 0..30_u8,
        ) {
            let head = [[b'I', b'I', version, 0], [b'M', b'M', 0, version]][order];
            bytes[..4].copy_from_slice(&head);
            bytes[4..8].copy_from_slice(&[[start, 0, 0, 0], [0, 0, 0, start]][order]);
            if let Some(directory) = Directory::read(&bytes) {
                let tags: Vec<_> = directory.entries.iter().map(|entry| entry.tag).collect();
                for tag in tags {
                    directory.integers(tag);
                    directory.first_range(tag);
                }
                directory.orientation();
            }
        }
    }
}
