//! Photos that are frames of a film.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clipseg::Smoother;

/// What films need.
#[derive(Args)]
pub struct FrameArguments {
    /// Treat the photos as the frames of a film, in their order, and average the probabilities over time: the
    /// share of the average so far; the rest is the new frame's. Near 1 masks flicker least and lag most. A
    /// frame of another size or folder starts a new average; one that cannot be read is skipped.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    smooth: Option<f32>,
}

impl FrameArguments {
    /// Checks the share.
    pub fn check(&self) -> Result<()> {
        self.smoother().map(|_| ())
    }

    /// Checks that there is something to average.
    pub fn check_photos(&self, count: usize) -> Result<()> {
        ensure!(
            count > 1 || self.smooth.is_none(),
            "--smooth: averages over several frames, but there is one photo; name their folder, or leave out --smooth"
        );
        Ok(())
    }

    /// The smoother, if --smooth is given.
    pub fn smoother(&self) -> Result<Option<Smoother>> {
        let smoother = |share| Smoother::new(share).with_context(|| format!("--smooth {share}"));
        self.smooth.map(smoother).transpose()
    }
}

/// The most bytes of a line, more than any system allows for a path.
const LONGEST: u64 = 1 << 16;

/// The paths on the lines of a stream; empty lines are left out.
pub fn read_paths(mut stream: impl BufRead) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut line = Vec::new();
    let mut is_first = true;
    while stream.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
        if line.len() as u64 == LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long for a path"));
        }
        // The byte-order mark that some editors put in front.
        let path = if is_first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        is_first = false;
        let path = path.strip_suffix(b"\n").unwrap_or(path);
        let path = path.strip_suffix(b"\r").unwrap_or(path);
        if !path.is_empty() {
            paths.push(path_of(path)?);
        }
        line.clear();
    }
    Ok(paths)
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Ok(OsStr::from_bytes(bytes).into())
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> io::Result<PathBuf> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(text.into())
}

/// The order of names in which numbers count by their value: frame2 comes before frame10.
pub fn by_number(one: &OsStr, other: &OsStr) -> Ordering {
    let (mut left, mut right) = (one.as_encoded_bytes(), other.as_encoded_bytes());
    loop {
        let order = match (number(left), number(right)) {
            (Some((left_digits, left_rest)), Some((right_digits, right_rest))) => {
                (left, right) = (left_rest, right_rest);
                // Of two numbers without leading zeros, the longer one is the larger.
                (left_digits.len(), left_digits).cmp(&(right_digits.len(), right_digits))
            }
            _ => match (left.split_first(), right.split_first()) {
                (Some((left_byte, left_rest)), Some((right_byte, right_rest))) => {
                    (left, right) = (left_rest, right_rest);
                    left_byte.cmp(right_byte)
                }
                // Equal but for leading zeros.
                (None, None) => return one.cmp(other),
                (left_end, right_end) => return left_end.is_some().cmp(&right_end.is_some()),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The number that a name begins with, without leading zeros, and the rest of the name.
fn number(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = name.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(name.len());
    let (digits, rest) = name.split_at(end);
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    (end > 0).then(|| (&digits[zeros..], rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_by_number() {
        let sorted = [
            "a.png",
            "frame.png",
            "frame0.png",
            "frame00.png",
            "frame1.png",
            "frame2.png",
            "frame010.png",
            "frame10.png",
            "frame10b.png",
            "frame11.png",
            "frame99999999999999999999999.png",
            "frames.png",
        ];
        for (place, one) in sorted.iter().enumerate() {
            for (other_place, other) in sorted.iter().enumerate() {
                let order = by_number(OsStr::new(one), OsStr::new(other));
                assert_eq!(order, place.cmp(&other_place), "{one} {other}");
            }
        }
    }

    #[test]
    fn a_stream_has_a_path_on_each_line() {
        let paths = read_paths(&b"a.png\r\n\nb c.png\nlast"[..]).unwrap();
        assert_eq!(paths, ["a.png", "b c.png", "last"].map(PathBuf::from));
        assert!(read_paths(&b""[..]).unwrap().is_empty());
        let marked = read_paths("\u{feff}a.png\r\n\u{feff}b.png".as_bytes()).unwrap();
        assert_eq!(marked, ["a.png", "\u{feff}b.png"].map(PathBuf::from));
        let endless = io::BufReader::new(io::repeat(0));
        assert!(read_paths(endless).unwrap_err().to_string().contains("a line is too long"));
    }
}
