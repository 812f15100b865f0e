//! What a failed download leaves in place of a file.

use std::fmt;

/// Bytes from the start of a file that [`StandIn::recognise`] looks at.
const ENOUGH: usize = 256;

/// Something other than the expected file of a checkpoint, usually left by a failed download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StandIn {
    /// The small text that Git LFS puts in place of a large file that was not fetched.
    LfsPointer,
    /// A web page, most often an error or a login.
    WebPage,
    /// Nothing at all.
    Empty,
}

impl StandIn {
    /// Recognises a stand-in by the first bytes of a file; 256 are enough.
    #[must_use]
    pub fn recognise(start: &[u8]) -> Option<Self> {
        if start.is_empty() {
            return Some(Self::Empty);
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

impl fmt::Display for StandIn {
    /// As the rest of a sentence that starts with the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
            ("#version: 0.2\ni n\n", None),
            ("{\"model_type\": \"clipseg\"}", None),
            ("PK\u{3}\u{4}", None),
            ("<", None),
            ("< html", None),
        ] {
            assert_eq!(StandIn::recognise(start.as_bytes()), expected, "{start:?}");
        }
    }
}
