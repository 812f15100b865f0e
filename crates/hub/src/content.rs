//! Reads a response's body as it arrives, within limits of time and length.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response};
use ureq::{Body, BodyReader};

use crate::address::shown;
use crate::error::{Error, Result};
use crate::settings::Limits;

/// Most bytes of a small answer; no list of files is longer, and no file other than weights.
pub(crate) const MAX_SMALL: u64 = 64 << 20;
/// Slowest rate of a small answer, in bytes per second, once its initial time is over.
const SLOWEST: f64 = 1024.0;

/// Whether an answer is small, which limits its length and time, or may be of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Small,
    Large,
}

/// A body that is being received.
pub(crate) struct Content {
    reader: BodyReader<'static>,
    url: String,
    kind: Kind,
    limits: Limits,
    start: Instant,
    received: u64,
    /// The range that is sent; `None` if it is the whole file.
    pub part: Option<Part>,
    /// Length of the body, if the server states it and does not compress the body.
    pub length: Option<u64>,
}

/// A range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The first byte; `None` if the range does not exist.
    pub start: Option<u64>,
    /// Length of the whole file in bytes, if stated.
    pub total: Option<u64>,
}

impl Content {
    pub fn new(response: Response<Body>, url: &str, kind: Kind, limits: Limits) -> Result<Self> {
        let range = header(response.headers(), "content-range");
        let part = match response.status().as_u16() {
            206 => Some(Part::parse(range.unwrap_or_default())),
            416 => Some(Part { start: None, ..Part::parse(range.unwrap_or_default()) }),
            _ => None,
        };
        // A range of a compressed body is of no use.
        let is_packed = response.headers().contains_key("content-encoding");
        let part = part.map(|part| if is_packed { Part { start: None, total: None } } else { part });
        let length = response.body().content_length();
        if kind == Kind::Small && length.is_some_and(|length| length > MAX_SMALL) {
            return Err(too_long(url));
        }
        let reader = response.into_body().into_reader();
        Ok(Self {
            reader,
            url: url.to_owned(),
            kind,
            limits,
            start: Instant::now(),
            received: 0,
            part,
            length,
        })
    }

    /// Reads the next bytes and returns their number, 0 at the end.
    pub fn read(&mut self, piece: &mut [u8]) -> Result<usize> {
        let count = loop {
            match self.reader.read(piece) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let broke = |error: std::io::Error| Error::Network {
            url: self.url.clone(),
            reason: shown(&error.to_string()),
        };
        let count = count.map_err(broke)?;
        self.received += count as u64;
        if self.kind == Kind::Small {
            if self.received > MAX_SMALL {
                return Err(too_long(&self.url));
            }
            let took = self.start.elapsed();
            let slowest = Duration::from_secs_f64(self.received as f64 / SLOWEST);
            if took > self.limits.small_file_timeout.saturating_add(slowest) {
                return Err(Error::Slow { url: self.url.clone(), bytes: self.received, took });
            }
        }
        Ok(count)
    }
}

impl Part {
    /// Parses `bytes 200-1023/1024` or `bytes */1024`.
    fn parse(range: &str) -> Self {
        let range = range.trim().strip_prefix("bytes").unwrap_or_default().trim();
        let (part, total) = range.split_once('/').unwrap_or((range, ""));
        let start = part.split('-').next().unwrap_or_default();
        Self { start: start.trim().parse().ok(), total: total.trim().parse().ok() }
    }

    /// Whether the whole file is stated to have fewer than `length` bytes.
    pub fn ends_before(self, length: u64) -> bool {
        self.total.is_some_and(|total| total < length)
    }
}

/// The error for a small answer that is too long.
pub(crate) fn too_long(url: &str) -> Error {
    Error::answer(
        url,
        format!("it sends more than {} MB, and nothing of its kind is so long", MAX_SMALL >> 20),
    )
}

/// A header's value, if it is text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // Not `to_str`, which accepts only ASCII: addresses may come unescaped.
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_from_their_header() {
        let part = |start, total| Part { start, total };
        assert_eq!(Part::parse("bytes 200-1023/1024"), part(Some(200), Some(1024)));
        assert_eq!(Part::parse("bytes 0-1/*"), part(Some(0), None));
        assert_eq!(Part::parse("bytes */1024"), part(None, Some(1024)));
        for none in ["", "bytes", "bytes x-y/z", "lines 1-2/3", "bytes -/"] {
            assert_eq!(Part::parse(none), part(None, None), "{none}");
        }
    }
}
