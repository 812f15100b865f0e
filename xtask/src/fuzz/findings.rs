//! Makes inputs that fail small, names them, and puts them where they are committed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::log;
use crate::root;

/// How long libFuzzer may try to make an input smaller.
const MINIMISING: &str = "-max_total_time=30";

/// The files in a folder.
pub fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Puts an input that failed into `fuzz/findings`, and gives its path there, unless it is only slow.
pub fn keep(failure: &Path, program: &Path, target: &str, text: &str) -> Result<Option<PathBuf>> {
    let file = failure.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kind = file.split('-').next().unwrap_or_default();
    // Not an error in itself: libFuzzer reports inputs that take half of the time that is allowed.
    if kind == "slow" {
        println!("   slow: {}", failure.display());
        return Ok(None);
    }
    let folder = root().join("fuzz/findings").join(target);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let finding = folder.join(name(kind, text));
    // An input that takes too long, or too much memory, would do so at each attempt to make it smaller.
    let is_small = kind == "crash" && minimise(failure, program, &finding)?;
    if !is_small {
        fs::copy(failure, &finding).with_context(|| format!("cannot write {}", finding.display()))?;
    }
    Ok(Some(finding))
}

/// Makes an input smaller. Gives whether a smaller one that fails is at `to` now.
fn minimise(failure: &Path, program: &Path, to: &Path) -> Result<bool> {
    let exact = format!("-exact_artifact_path={}", to.display());
    let mut command = Command::new(program);
    command.args(["-minimize_crash=1", MINIMISING, &exact]).arg(failure);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().context("making an input smaller")?;
    Ok(to.exists())
}

/// Names a file by what its input does: the place and the first words of a panic, or else libFuzzer's kind of
/// failure.
fn name(kind: &str, text: &str) -> String {
    let Some((place, message)) = log::panic(text) else { return kind.to_owned() };
    let file = Path::new(place.split(':').next().unwrap_or_default()).file_stem().unwrap_or_default();
    let words = format!("{} {message}", file.to_string_lossy()).to_lowercase();
    let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.take(7).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn findings_are_named_for_what_they_do() {
        let text = "thread '<unnamed>' panicked at crates/hub/src/download.rs:163:20:\nattempt to subtract with overflow\n";
        assert_eq!(name("crash", text), "download-attempt-to-subtract-with-overflow");
        assert_eq!(name("timeout", "ALARM: working on the last Unit for 20 seconds"), "timeout");
    }
}
