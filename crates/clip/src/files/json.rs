//! JSON as Python writes it.

use serde::de::DeserializeOwned;

/// Parses JSON, also with the `NaN`, `Infinity` and `-Infinity` that Python's `json` writes and no standard has.
///
/// Such a number becomes a text of that name: where a number is needed, it is then refused under its field's name;
/// where nobody reads it, it does not make the rest of the file unreadable.
pub(crate) fn parse_json<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text).or_else(|error| match quote_non_finite(text) {
        // The place that the second message names would be off by the quotes; the first is about the file as it is.
        Some(quoted) => serde_json::from_str(&quoted).map_err(|_| error),
        None => Err(error),
    })
}

/// `text` with quotes around the numbers that JSON does not have, or `None` where there are none.
fn quote_non_finite(text: &str) -> Option<String> {
    let mut quoted = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut found = false;
    while let Some(start) = rest.find(['"', 'N', 'I', '-']) {
        quoted.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = match ["NaN", "Infinity", "-Infinity"].into_iter().find(|number| rest.starts_with(number)) {
            Some(number) => {
                found = true;
                quoted.extend(["\"", number, "\""]);
                number.len()
            }
            None => {
                let end = if rest.starts_with('"') { string_end(rest) } else { 1 };
                quoted.push_str(&rest[..end]);
                end
            }
        };
        rest = &rest[end..];
    }
    quoted.push_str(rest);
    found.then_some(quoted)
}

/// Length of the string literal at the beginning of `text`, quotes included; the whole of one that does not end.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (place, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place + 1,
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
        assert_eq!(parsed(r#"{"é": "\\", "Inf": NaN}"#), json!({"é": "\\", "Inf": "NaN"}));
    }

    #[test]
    fn what_is_no_json_stays_refused_in_the_words_about_the_file() {
        for text in ["{", "NaNs", "{\"a\": NaN", "\"", "\"\\", "{\"a\": nan}", "{N: 1}"] {
            assert!(parse_json::<Value>(text).is_err(), "{text}");
        }
        let message = parse_json::<Value>("{\"a\": NaN,\n x}").unwrap_err().to_string();
        assert!(message.contains("line 1"), "{message}");
    }
}
