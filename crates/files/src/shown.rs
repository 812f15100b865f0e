//! Makes text from untrusted files safe for a terminal.

/// Most characters of a name that [`shown`] keeps.
const MOST: usize = 200;

/// The text with every character escaped (`\u{1b}`) that a terminal would act on instead of showing it:
/// control characters, line separators, those that change the direction of the text, byte order marks, tags,
/// and those that are never seen. The two that join and part letters in some scripts stay.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) { printable.extend(c.escape_unicode()) } else { printable.push(c) }
    }
    printable
}

/// A name or text from a file, for a message: [`printable`], and cut if it is longer than any real name.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => printable(text),
        Some((end, _)) => format!("{}… ({} bytes)", printable(&text[..end]), text.len()),
    }
}

/// Whether a terminal or viewer would act on a character instead of showing it.
fn acts(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    let is_tag = matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    let is_unseen = matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}');
    c.is_control() || turns || breaks || is_tag || is_unseen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        for (text, expected) in [
            ("Käse\u{1b}[31m.png", "Käse\\u{1b}[31m.png"),
            ("a\nb\r\u{7f}\u{9b}2J", "a\\u{a}b\\u{d}\\u{7f}\\u{9b}2J"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
            ("cat\u{200b}.png\u{2060}\u{ad}", "cat\\u{200b}.png\\u{2060}\\u{ad}"),
            // A zero-width joiner is invisible too, but harmless.
            ("👩\u{200d}🚀 日本", "👩\u{200d}🚀 日本"),
        ] {
            assert_eq!(printable(text), expected);
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn long_names_are_cut_with_their_length() {
        let name = "é".repeat(MOST);
        assert_eq!(shown(&name), name);
        assert_eq!(shown(&(name.clone() + "x")), format!("{name}… (401 bytes)"));
        assert!(shown(&"\u{1b}".repeat(1_000_000)).len() < 10 * MOST);
    }
}
