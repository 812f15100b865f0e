//! What a failed download leaves in place of a file.

use std::fmt;

use clipseg_files::shown;
use serde_json::Value;

use crate::config::Object;

/// Bytes from the start of a file that [`StandIn::recognise`] looks at, unless the file is JSON.
const ENOUGH: usize = 256;
/// Longest JSON that is taken for an error's message, in bytes.
const LONGEST_ERROR: usize = 4096;
/// Most fields of such a message.
const MOST_FIELDS: usize = 3;

/// Something other than the expected file of a checkpoint, usually left by a failed download.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StandIn {
    /// The small text that Git LFS puts in place of a large file that was not fetched.
    LfsPointer,
    /// A web page, most often an error or a login.
    WebPage,
    /// The JSON in which a Hub or another server says why it does not give the file: its text. `curl` without
    /// `--fail` saves it under the file's name.
    ErrorMessage(String),
    /// Nothing at all.
    Empty,
}

impl StandIn {
    /// Recognises a stand-in by the first bytes of a file. 256 are enough, except that an error's message is
    /// recognised only as a whole.
    #[must_use]
    pub fn recognise(start: &[u8]) -> Option<Self> {
        if start.is_empty() {
            return Some(Self::Empty);
        }
        if let Some(message) = error_message(start) {
            return Some(Self::ErrorMessage(message));
        }
        let start = &start[..start.len().min(ENOUGH)];
        if start.starts_with(b"version https://git-lfs.github.com/spec/") {
            return Some(Self::LfsPointer);
        }
        let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
        let begins = |with: &str| {
            start.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
        };
        ["<!doctype", "<html", "<head", "<?xml", "<!--"].into_iter().any(begins).then_some(Self::WebPage)
    }
}

/// The text of a file that is an error's message in JSON.
fn error_message(file: &[u8]) -> Option<String> {
    if file.len() > LONGEST_ERROR {
        return None;
    }
    let text = std::str::from_utf8(file).ok()?.trim_start_matches('\u{feff}').trim();
    let object = serde_json::from_str(text).ok()?;
    is_error(&object).then(|| text.to_owned())
}

/// Whether an object is what a server says in place of a file, such as `{"error": "Repository not found"}`
/// (the Hub), `{"message": "404 Not Found", "status": "404"}` or `{"detail": "Not Found"}`.
pub(crate) fn is_error(object: &Object) -> bool {
    let says = |name: &str| {
        let is_text = |value: &Value| value.is_string() || value.is_object() || value.is_array();
        object.get(name).is_some_and(is_text)
    };
    let has = |name: &str| object.contains_key(name);
    // In a tokenizer's settings it is a text, such as "replace".
    let has_errors = object.get("errors").is_some_and(|errors| errors.is_object() || errors.is_array());
    // A file of settings may have any of these beside its own; those of a tokenizer may have tokens of such
    // names, but these have numbers.
    object.len() <= MOST_FIELDS
        && (says("error")
            || has_errors
            || says("message") && ["status", "code", "documentation_url"].into_iter().any(has)
            || object.len() == 1 && (says("detail") || says("message")))
}

impl fmt::Display for StandIn {
    /// As the rest of a sentence that starts with the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ErrorMessage(message) => {
                return write!(
                    f,
                    "is an error's message in place of the file ({}): download it again, with a token (HF_TOKEN) where \
                     the message asks for one",
                    shown(message)
                );
            }
            Self::LfsPointer => {
                "is a Git LFS pointer, which only stands for the file: run `git lfs pull` in its folder, or download \
                 the file itself"
            }
            Self::WebPage => {
                "is a web page (HTML or XML) in place of the file, such as an error or a login: download the file \
                 again (on the Hugging Face Hub from an address with /resolve/, not /blob/)"
            }
            Self::Empty => "is empty: download it again",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_recognised_and_files_are_not() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 603000000\n";
        for (start, expected) in [
            (pointer, Some(StandIn::LfsPointer)),
            ("<!DOCTYPE html>\n<html class=\"\">", Some(StandIn::WebPage)),
            ("\u{feff}\r\n  <HTML>", Some(StandIn::WebPage)),
            ("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>", Some(StandIn::WebPage)),
            ("", Some(StandIn::Empty)),
            ("{\"error\": 259, \"cat</w>\": 2368}", None),
            ("{\"error\": \"none\", \"a\": 1, \"b\": 2, \"extract_layers\": [3, 6, 9]}", None),
            ("{\"message\": \"of a chat\", \"size\": 224}", None),
            ("{\"error\": \"cut off", None),
            ("{\"errors\": \"replace\", \"model_max_length\": 77}", None),
            ("[\"error\"]", None),
            ("{}", None),
            ("#version: 0.2\ni n\n", None),
            ("{\"model_type\": \"clipseg\"}", None),
            ("PK\u{3}\u{4}", None),
            ("<", None),
            ("< html", None),
        ] {
            assert_eq!(StandIn::recognise(start.as_bytes()), expected, "{start:?}");
        }
    }

    #[test]
    fn errors_in_json_are_recognised_and_shown() {
        for text in [
            "{\"error\":\"Invalid credentials in Authorization header\"}",
            "\u{feff} {\"error\": {\"code\": 404, \"message\": \"no such object\"}}\n",
            "{\"errors\": [{\"code\": \"DENIED\"}]}",
            "{\"message\":\"Not Found\",\"documentation_url\":\"https://docs.github.com/rest\",\"status\":\"404\"}",
            "{\"message\": \"404 Project Not Found\"}",
            "{\"detail\": \"Not Found\"}",
        ] {
            let found = StandIn::recognise(text.as_bytes());
            let shown = text.trim_start_matches('\u{feff}').trim();
            assert_eq!(found, Some(StandIn::ErrorMessage(shown.to_owned())));
            let message = found.unwrap().to_string();
            assert!(message.contains(shown) && message.contains("download it again"), "{message}");
        }
        let long = format!("{{\"error\": \"\u{1b}[31m{}\"}}", "x".repeat(3000));
        let message = StandIn::ErrorMessage(long).to_string();
        assert!(message.len() < 500 && !message.contains('\u{1b}'), "{message}");
    }
}
