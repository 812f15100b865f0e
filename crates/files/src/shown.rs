//! Text from files, which anyone may have written, on its way to a terminal.

/// Characters of a name that [`shown`] keeps.
const MOST: usize = 200;

/// A text that does nothing to a terminal: control characters, and those that turn the direction of what
/// follows or are not seen, are written as `\u{1b}`.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) { printable.extend(c.escape_unicode()) } else { printable.push(c) }
    }
    printable
}

/// A name or a text from a file, for a message: [`printable`], and cut where it is longer than any name is.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => printable(text),
        Some((end, _)) => format!("{}… ({} bytes)", printable(&text[..end]), text.len()),
    }
}

/// Whether a character is a command to who shows it.
fn acts(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    let is_tag = matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || turns || breaks || is_tag
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
            // Joined by what is not seen, but acts on nothing else.
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
