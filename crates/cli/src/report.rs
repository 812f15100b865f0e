//! Errors and warnings on stderr.

use std::fmt::Display;
use std::io::Write;

use clipseg_files::printable;

use crate::stop;

/// The most characters of a message that are shown. Messages that quote files cut the quotation themselves;
/// this limit is for the messages of other crates.
const MOST: usize = 4_000;

/// Prints `error: …`, always as one line.
pub fn error(error: &anyhow::Error) {
    line("error", &describe(error));
}

/// Prints `warning: …`, always as one line.
pub fn warning(message: impl Display) {
    line("warning", &message.to_string());
}

/// Prints the warnings of the library too, for example that memory was short. Failures come as errors, not as
/// warnings. The warnings of the crates below it are not shown: they are about caches, which are made anew.
pub fn show_warnings() {
    // This fails if a logger is already set; nothing else sets one.
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Warn && metadata.target().starts_with("clipseg::")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            stop::clear_line();
            warning(record.args());
        }
    }

    fn flush(&self) {}
}

/// The lines of a message as one. Blanks within them stay, as a file's name may have several in a row.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    printable(&lines.collect::<Vec<_>>().join(" "))
}

fn line(kind: &str, message: &str) {
    let message = one_line(message);
    let message = match message.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}… ({} bytes)", &message[..end], message.len()),
        None => message,
    };
    // If not even stderr can be written, the exit code has to tell.
    let _ = writeln!(std::io::stderr(), "{kind}: {message}");
}

/// The chain of causes, without those that the message before has already quoted.
pub fn describe(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_names_keep_their_blanks() {
        assert_eq!(
            one_line("cannot read a  b.png:\n  no such file\r\n"),
            "cannot read a  b.png: no such file"
        );
        assert_eq!(one_line("a\u{1b}[31m"), "a\\u{1b}[31m");
    }

    #[test]
    fn a_quoted_cause_is_not_repeated() {
        let quoted = anyhow::anyhow!("no such file").context("cannot read x: no such file");
        assert_eq!(describe(&quoted), "cannot read x: no such file");
        let unquoted = anyhow::anyhow!("disk full").context("cannot write x");
        assert_eq!(describe(&unquoted), "cannot write x: disk full");
    }
}
