//! JSON as Python writes it.

use serde::de::DeserializeOwned;

/// Parses JSON. Also accepts the `NaN`, `Infinity` and `-Infinity` that Python's `json` writes though no
/// standard allows them, and numbers too large for f64, which Python reads as infinities.
///
/// Such a number becomes a string. Where a number is needed, it is then refused with the field's name; where
/// nobody reads it, the rest of the file stays readable.
pub(crate) fn parse_json<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text).or_else(|error| match quote_non_finite(text) {
        // The second error's position would be off by the inserted quotes; the first error is about the file
        // itself.
        Some(quoted) => serde_json::from_str(&quoted).map_err(|_| error),
        None => Err(error),
    })
}

/// `text` with quotes around the numbers that are not finite, or `None` where there are none.
fn quote_non_finite(text: &str) -> Option<String> {
    let mut quoted = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut found = false;
    let begins = |character: char| matches!(character, '"' | '-' | 'N' | 'I' | '0'..='9');
    while let Some(start) = rest.find(begins) {
        quoted.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = if rest.starts_with('"') { string_end(rest) } else { word_end(rest) };
        let token = &rest[..end];
        if is_not_finite(token) {
            found = true;
            quoted.extend(["\"", token, "\""]);
        } else {
            quoted.push_str(token);
        }
        rest = &rest[end..];
    }
    quoted.push_str(rest);
    found.then_some(quoted)
}

fn is_not_finite(token: &str) -> bool {
    let digits = token.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit());
    matches!(token, "NaN" | "Infinity" | "-Infinity") || digits && token.parse().is_ok_and(f64::is_infinite)
}

/// Length of the number or word at the beginning of `text`, which starts with one.
fn word_end(text: &str) -> usize {
    let belongs = |character: char| character.is_ascii_alphanumeric() || matches!(character, '+' | '-' | '.');
    text.find(|character| !belongs(character)).unwrap_or(text.len())
}

/// Length of the string literal at the beginning of `text`, quotes included; all of `text` if the literal
/// does not end.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn numbers_that_python_alone_writes_become_texts() {
        let parsed = |text: &str| parse_json::<Value>(text).unwrap();
        assert_eq!(
            parsed(r#"{"a": NaN, "b": [Infinity, -Infinity, -1], "c": "NaN \" Infinity"}"#),
            json!({"a": "NaN", "b": ["Infinity", "-Infinity", -1], "c": "NaN \" Infinity"})
        );
        assert_eq!(parsed("-Infinity"), json!("-Infinity"));
        assert_eq!(parsed("[1e400, -2.5E+999, 1e308, 3]"), json!(["1e400", "-2.5E+999", 1e308, 3]));
        assert_eq!(parsed(r#"{"é": "\\", "Inf": NaN}"#), json!({"é": "\\", "Inf": "NaN"}));
    }

    #[test]
    fn what_is_no_json_stays_refused_in_the_words_about_the_file() {
        for text in ["{", "NaNs", "{\"a\": NaN", "\"", "\"\\", "{\"a\": nan}", "{N: 1}", "-inf", "Inf"] {
            assert!(parse_json::<Value>(text).is_err(), "{text}");
        }
        let message = parse_json::<Value>("{\"a\": NaN,\n x}").unwrap_err().to_string();
        assert!(message.contains("line 1"), "{message}");
    }
}
