//! The EXIF block of PNG files, and their end.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// What every file begins with.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The keywords under which ImageMagick, and what is built on it, keeps the block as a text.
const PROFILES: [&[u8]; 2] = [b"Raw profile type exif", b"Raw profile type APP1"];
/// The most bytes of such a text that are read: JPEG files allow a block of 64 KB, and the text has two
/// digits for each byte.
const MOST_BYTES: u64 = 1 << 18;

/// The chunk that ends a file.
const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// A PNG file that was cut off after its pixels, with its end, as Pillow reads it too. The decoder sees
/// whether they are all there. Anything else as it is.
pub fn ended(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut at = SIGNATURE.len();
    let mut has_pixels = false;
    let chunk = |at: usize| {
        let (length, after) = bytes.get(at..)?.split_first_chunk::<4>()?;
        let kind = after.first_chunk::<4>()?;
        // Where addresses have 32 bits, a length may reach beyond them.
        let end = (at + 12).checked_add(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        (end <= bytes.len()).then_some((kind, end))
    };
    while let Some((kind, end)) = chunk(at) {
        if kind == b"IEND" {
            return Cow::Borrowed(bytes);
        }
        has_pixels |= kind == b"IDAT";
        at = end;
    }
    match has_pixels && bytes.starts_with(SIGNATURE) {
        true => Cow::Owned([&bytes[..at], END].concat()),
        false => Cow::Borrowed(bytes),
    }
}

/// Whether this is a PNG file of grey in 16 bits, without alpha.
pub fn is_deep_grey(bytes: &[u8]) -> bool {
    // Its header ends with the bits of a value, the kind of colour, and three bytes more.
    bytes.starts_with(SIGNATURE) && bytes.get(24..26) == Some(&[16, 0])
}

/// Whether each colour of a PNG file's palette has its three values. On others the decoder panics.
pub fn has_whole_palette(bytes: &[u8]) -> bool {
    let is_whole = |(kind, data): (&[u8; 4], &[u8])| kind != b"PLTE" || data.len().is_multiple_of(3);
    !bytes.starts_with(SIGNATURE) || chunks(bytes).all(is_whole)
}

/// Whether Xcode rewrote a PNG file for iPhones: a chunk of its own comes first, and the pixels are
/// compressed otherwise.
pub fn is_for_iphones(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE) && bytes.get(12..16) == Some(b"CgBI")
}

/// The EXIF block of a PNG file, which may stand before the pixels or after them: that of the chunk for it,
/// or else of a text.
pub fn exif(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut profile = None;
    for (kind, data) in chunks(bytes) {
        match kind {
            b"eXIf" => return Some(data.to_vec()),
            b"tEXt" | b"zTXt" | b"iTXt" if profile.is_none() => profile = of_text(kind, data),
            _ => {}
        }
    }
    profile
}

/// The chunks of a PNG file, up to the first whose data are not all there.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    // After the signature come chunks: length, kind, data and checksum.
    let mut rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(length)?;
        rest = after.get(4..).unwrap_or_default();
        Some((kind, data))
    })
}

/// The EXIF block in a text, if it is one of that.
fn of_text(kind: &[u8; 4], data: &[u8]) -> Option<Vec<u8>> {
    let (keyword, data) = split(data)?;
    if !PROFILES.contains(&keyword) {
        return None;
    }
    let (is_compressed, text) = match (kind, data) {
        (b"tEXt", text) => (false, text),
        (b"zTXt", [0, text @ ..]) => (true, text),
        // Flags, the language and the keyword in it.
        (b"iTXt", [is_compressed @ (0 | 1), 0, rest @ ..]) => (*is_compressed == 1, split(split(rest)?.1)?.1),
        _ => return None,
    };
    if !is_compressed {
        return of_digits(text);
    }
    let mut inflated = Vec::new();
    // What was inflated before an error may do.
    let _ = ZlibDecoder::new(text).take(MOST_BYTES).read_to_end(&mut inflated);
    of_digits(&inflated)
}

/// The bytes of a profile: a line with its name, one with their number, and lines of hexadecimal digits.
fn of_digits(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = text.trim_ascii_start().splitn(3, |&byte| byte == b'\n').skip(1);
    let count: usize = std::str::from_utf8(lines.next()?).ok()?.trim().parse().ok()?;
    let digits: Vec<_> = lines.next()?.iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let bytes = digits.as_chunks::<2>().0.iter().take(count);
    bytes.map(|[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8)).collect()
}

/// What stands before and after the first zero.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..end], &data[end + 1..]))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"\nexif\n      10\n457869660000\n4d4d002a\n";
    const BLOCK: &[u8] = b"Exif\0\0MM\0\x2a";

    fn deflated(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut file = SIGNATURE.to_vec();
        for (kind, data) in chunks {
            file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            file.extend(*kind);
            file.extend(*data);
            file.extend([0; 4]);
        }
        file
    }

    fn text(before: &[u8], text: &[u8]) -> Vec<u8> {
        [b"Raw profile type exif\0", before, text].concat()
    }

    #[test]
    fn a_profile_in_any_kind_of_text_is_found() {
        for (kind, before, is_compressed) in [
            (b"tEXt", &b""[..], false),
            (b"zTXt", b"\0", true),
            (b"iTXt", b"\0\0en\0Profil\0", false),
            (b"iTXt", b"\x01\0\0\0", true),
        ] {
            let data = text(before, &if is_compressed { deflated(TEXT) } else { TEXT.to_vec() });
            assert_eq!(exif(&file(&[(b"IDAT", b"x"), (kind, &data)])).unwrap(), BLOCK);
            // The chunk that is made for it comes first.
            assert_eq!(exif(&file(&[(kind, &data), (b"eXIf", b"MM")])).unwrap(), b"MM");
        }
        let other = [b"Raw profile type xmp\0", TEXT].concat();
        assert_eq!(exif(&file(&[(b"tEXt", &other)])), None);
    }

    #[test]
    fn a_text_that_swells_is_read_in_part() {
        let bomb = [b"\nexif\n99999999\n".to_vec(), vec![b'0'; 1 << 24]].concat();
        let block = exif(&file(&[(b"zTXt", &text(b"\0", &deflated(&bomb)))])).unwrap();
        assert!(block.len() as u64 <= MOST_BYTES / 2);
    }

    proptest! {
        /// For any bytes, reading ends.
        #[test]
        fn any_texts_are_read(
            kind in prop::sample::select(vec![b"tEXt", b"zTXt", b"iTXt"]),
            data in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            exif(&file(&[(kind, &text(&data[..data.len() / 2], &data))]));
            exif(&file(&[(kind, &data)]));
            exif(&data);
            ended(&data);
            ended(&[SIGNATURE, &data].concat());
        }
    }
}
