//! Names that every file system accepts, and which names it may take for equal.

use std::path::Path;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The most bytes of a photo's name. Followed by a prompt's name, a number and an ending, it stays within the
/// 255 bytes that file systems allow, in any script.
const STEM_BYTES: usize = 112;
/// The most bytes of a prompt's name.
const SLUG_BYTES: usize = 96;
/// The characters that Windows does not allow in a name, and the one that stands for bytes that are not
/// UTF-8.
const FORBIDDEN: &str = "<>:\"/\\|?*\u{fffd}";
/// The names that Windows takes for devices, with an ending too.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
/// The names of devices that are followed by a number.
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];
const DEVICE_NUMBERS: [&str; 13] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"];

/// A key that is the same for all names that some file system takes for equal, because it ignores case or how
/// a letter is composed. More names share a key than any single file system takes for equal.
pub fn key(name: &str) -> String {
    name.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd().collect()
}

/// A photo's name without its ending, fit for any file system.
pub fn stem(photo: &Path) -> String {
    let stem = photo.file_stem().unwrap_or_default().to_string_lossy();
    let stem: String =
        stem.chars().map(|c| if c.is_control() || FORBIDDEN.contains(c) { '-' } else { c }).collect();
    // Files whose names start with a dot are hidden.
    match shortened(stem.trim_start_matches(['.', ' ']), STEM_BYTES).trim_end() {
        "" => "photo".to_owned(),
        stem => match stem.split_once('.') {
            Some((start, rest)) if is_device(start.trim_end()) => format!("{start}-{rest}"),
            _ => stem.to_owned(),
        },
    }
}

/// A prompt with everything but letters and digits folded into dashes.
pub fn slug(prompt: &str) -> String {
    let prompt: String = prompt.nfc().collect();
    let is_part = |c: char| c.is_alphanumeric() || is_combining_mark(c);
    // Marks without a letter to stand on are what is left of emoji.
    let words = prompt.split(|c| !is_part(c)).map(|word| word.trim_start_matches(is_combining_mark));
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let slug = words.join("-").to_lowercase();
    match shortened(&slug, SLUG_BYTES).trim_end_matches('-') {
        "" => "prompt".to_owned(),
        slug => slug.to_owned(),
    }
}

/// As many whole characters as fit into `bytes`.
fn shortened(text: &str, bytes: usize) -> &str {
    let ends = text.char_indices().map(|(start, c)| start + c.len_utf8());
    &text[..ends.take_while(|&end| end <= bytes).last().unwrap_or(0)]
}

/// Whether Windows takes a file of this name, and of this name with an ending, for a device.
pub fn is_device(name: &str) -> bool {
    let name = name.to_lowercase();
    let mut numbers = NUMBERED_DEVICES.iter().filter_map(|device| name.strip_prefix(device));
    DEVICES.contains(&name.as_str()) || numbers.any(|number| DEVICE_NUMBERS.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_fit_for_windows_and_terminals() {
        for (photo, expected) in [
            ("cat.jpg", "cat"),
            ("nul.png", "nul"), // a dash and more follow
            ("NUL.tar.png", "NUL-tar"),
            ("lpt¹.a.png", "lpt¹-a"),
            ("con .a.png", "con -a"),
            ("company.a.png", "company.a"),
            ("com10.a.png", "com10.a"),
            ("12:30.png", "12-30"),
            ("a\u{1b}[31m\n.png", "a-[31m-"),
            ("...cat.png", "cat"),
            (".png", "png"),
            ("a .png", "a"),
            ("..", "photo"),
        ] {
            assert_eq!(stem(Path::new(photo)), expected, "{photo}");
        }
        assert_eq!(stem(Path::new(&format!("{}.png", "猫".repeat(70)))), "猫".repeat(37));
    }

    #[test]
    fn slugs_keep_the_letters_of_any_script() {
        assert_eq!(slug("  Cafe\u{301}, au lait"), "caf\u{e9}-au-lait");
        assert_eq!(slug("हिन्दी बिल्ली"), "हिन्दी-बिल्ली");
        assert_eq!(slug(&"猫".repeat(25)), "猫".repeat(25));
        assert_eq!(slug(&"猫 ".repeat(25)), "猫-".repeat(24).trim_end_matches('-'));
        assert_eq!(slug("🐈"), "prompt");
        assert_eq!(slug("⚽\u{fe0f}"), "prompt");
        assert_eq!(slug("a ⚽\u{fe0f}ball"), "a-ball");
    }

    #[test]
    fn equal_names_have_one_key() {
        for (a, b) in
            [("Cat", "cAT"), ("caf\u{e9}", "CAFE\u{301}"), ("ς", "Σ"), ("Straße", "STRASSE"), ("K", "k")]
        {
            assert_eq!(key(a), key(b));
        }
        assert_ne!(key("cat"), key("cats"));
    }
}
