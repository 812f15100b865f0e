//! Picture formats that are recognised but not read.

/// The formats that can be read, for messages.
pub const KNOWN: &str = "JPEG, PNG, WebP, GIF, BMP and TIFF";

/// For each signature its offset, its bytes, and what the file is.
const MARKS: [(usize, &[u8], &str); 38] = [
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftypavis", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftyphev", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypmsf1", "a HEIF picture"),
    (4, b"ftypcrx ", "a camera's raw file"),
    (4, b"ftyp", "a film"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"8BPB", "a Photoshop document"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (0, b"IIRO", "a camera's raw file"),
    (0, b"IIRS", "a camera's raw file"),
    (0, b"IIU\0", "a camera's raw file"),
    (0, b"FOVb", "a camera's raw file"),
    (0, b"P1\n", "a PBM picture"),
    (0, b"P2\n", "a PGM picture"),
    (0, b"P3\n", "a PPM picture"),
    (0, b"P4\n", "a PBM picture"),
    (0, b"P5\n", "a PGM picture"),
    (0, b"P6\n", "a PPM picture"),
    (0, b"P7\n", "a PAM picture"),
    (0, b"\0\0\x01\0", "an icon"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"qoif", "a QOI picture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"#?RGBE", "a Radiance HDR picture"),
    (0, b"farbfeld", "a farbfeld picture"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<!DOCTYPE html", "a web page"),
];

/// Files that cannot be converted to a picture, and what to do.
const OTHERS: [(&[u8], &str); 2] = [
    (b"\0\x05\x16\x07", "is what macOS keeps beside a file, not the file itself"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself; fetch that with `git lfs pull`"),
];

/// Says what an unreadable file is, and what to do.
pub fn refusal(bytes: &[u8]) -> String {
    if let Some((_, message)) = OTHERS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return (*message).to_owned();
    }
    let text = bytes.trim_ascii_start();
    let is_xml = text.starts_with(b"<?xml");
    let is_svg = is_xml && text[..text.len().min(4096)].windows(4).any(|four| four == b"<svg");
    let is_marked = |(start, mark, _): &&(usize, &[u8], &str)| {
        let bytes = if mark.starts_with(b"<") { text } else { bytes };
        bytes.get(*start..).is_some_and(|bytes| bytes.starts_with(mark))
    };
    let name = match MARKS.iter().find(is_marked) {
        _ if is_svg => "an SVG drawing",
        Some((_, _, name)) => name,
        None => return format!("is not a picture of a known format; known are {KNOWN}"),
    };
    unread(name)
}

/// Says that a file of this name is not read, and what to do.
pub fn unread(name: &str) -> String {
    format!("is {name}, which is not read; convert it to an ordinary JPEG or PNG first (known are {KNOWN})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_what_they_are() {
        for (bytes, name) in [
            (&b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"[..], "an AVIF picture"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIF picture"),
            (b"\0\0\0\x18ftypisom\0\0\0\0", "a film"),
            (b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a", "a JPEG XL picture"),
            (b"\xff\x0a\xfa\x7f", "a JPEG XL picture"),
            (b"\0\0\0\x0cjP  \x0d\x0a\x87\x0a", "a JPEG 2000 picture"),
            (b"8BPS\0\x01", "a Photoshop document"),
            (b"%PDF-1.7", "a PDF document"),
            (b"  <svg xmlns", "an SVG drawing"),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns", "an SVG drawing"),
        ] {
            let message = refusal(bytes);
            assert!(message.contains(name) && message.contains("convert"), "{message}");
        }
        assert!(refusal(b"").contains("not a picture"));
        assert!(refusal(b"<?xml version=\"1.0\"?><a/>").contains("not a picture"));
        assert!(refusal(b"version https://git-lfs.github.com/spec/v1").contains("git lfs pull"));
        assert!(refusal(b"\0\x05\x16\x07\0\x02\0\0Mac OS X").contains("macOS"));
    }
}
