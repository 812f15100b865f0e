//! `benches/RESULTS.md`: each task that measures has a section of its own there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::{Context, Result};

use crate::root;

/// The file.
pub fn path() -> PathBuf {
    root().join("benches/RESULTS.md")
}

/// Puts `text` where the section of `task` is in the file, or at its end, and leaves the rest of the file as
/// it is.
pub fn write_section(file: &Path, task: &str, text: &str) -> Result<()> {
    let before = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let after = with_section(&before, task, text);
    fs::write(file, after).with_context(|| format!("cannot write {}", file.display()))
}

fn with_section(before: &str, task: &str, text: &str) -> String {
    let [begin, end] = ["begin", "end"].map(|side| format!("<!-- {task}: {side} -->\n"));
    let section = format!("{begin}{}\n{end}", text.trim_end());
    let known = before
        .split_once(&begin)
        .and_then(|(head, rest)| rest.split_once(&end).map(|(_, tail)| (head, tail)));
    match known {
        Some((head, tail)) => format!("{head}{section}{tail}"),
        None if before.is_empty() => section,
        None => format!("{}\n\n{section}", before.trim_end()),
    }
}

/// What the machine is, for the text above the tables.
pub fn machine() -> String {
    let cores = available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned());
    format!("{name}, {cores} cores")
}

#[cfg(test)]
mod tests {
    use super::with_section;

    #[test]
    fn a_section_replaces_its_own_alone() {
        let one = with_section("", "peers", "# Beside other engines\n");
        assert_eq!(one, "<!-- peers: begin -->\n# Beside other engines\n<!-- peers: end -->\n");
        let two = with_section(&one, "drivers", "old");
        assert_eq!(two, format!("{one}\n<!-- drivers: begin -->\nold\n<!-- drivers: end -->\n"));
        assert_eq!(with_section(&two, "drivers", "new"), two.replace("old", "new"));
        let other = with_section(&two, "peers", "# Other");
        assert_eq!(other, two.replace("# Beside other engines", "# Other"));
    }

    #[test]
    fn what_others_wrote_stays() {
        let text = with_section("# By hand", "drivers", "new");
        assert!(text.starts_with("# By hand\n\n<!-- drivers: begin -->\nnew\n"), "{text}");
        // A section without an end is not one: it may be anything.
        let damaged = "<!-- drivers: begin -->\nby hand\n";
        assert!(with_section(damaged, "drivers", "new").starts_with(damaged));
    }
}
