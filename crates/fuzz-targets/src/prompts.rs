use clipseg_cli::fuzzing::prompts;

use crate::{check_refusal, folder};

/// Most photos that are read.
const MOST: usize = 8;
/// PNGs of two pixels, black and white.
const WIDE: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x02\x00\x00\x00\x01\x08\x00\x00\x00\x00\xd1I V\x00\x00\x00\x0bIDATx\xdac`\xf8\x0f\x00\x01\x02\x01\x00\xd1\x1a\xcb\x8f\x00\x00\x00\x00IEND\xaeB`\x82";
const TALL: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x02\x08\x00\x00\x00\x00\xbc\xea\xe9\xfb\x00\x00\x00\x0cIDATx\xdac``\xf8\x0f\x00\x01\x03\x01\x006t\x11@\x00\x00\x00\x00IEND\xaeB`\x82";

/// Reads the file, together with two photos and their masks.
pub fn run(bytes: &[u8]) -> bool {
    let files = folder([
        ("prompts.jsonl", bytes),
        ("images/1.png", WIDE),
        ("images/2.png", TALL),
        ("masks/1.png", WIDE),
        ("masks/2.png", TALL),
    ]);
    match prompts(files.path(), MOST) {
        Ok(counts) => {
            assert!(!counts.is_empty() && counts.iter().all(|&count| count > 0));
            let text = str::from_utf8(bytes).unwrap();
            let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
            let lines = lines.filter(|line| !line.trim().is_empty()).count();
            assert!(counts.len() == MOST || counts.iter().sum::<usize>() == lines);
            true
        }
        Err(error) => check_refusal(&error, bytes),
    }
}
