//! Makes inputs that fail small, names them, and puts them where they are committed.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

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
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    // An input that takes too long, or too much memory, would do so at each attempt to make it smaller.
    let small = if kind == "crash" { minimise(failure, program)? } else { None };
    let input = read(small.as_deref().unwrap_or(failure))?;
    Ok(Some(put(&folder, &name(kind, text), &input)?))
}

/// Writes an input under this name, or with a number after it where another input has the name. Gives its
/// path.
fn put(folder: &Path, name: &str, input: &[u8]) -> Result<PathBuf> {
    let numbered = (2..).map(|number| folder.join(format!("{name}-{number}")));
    for path in [folder.join(name)].into_iter().chain(numbered) {
        match fs::read(&path) {
            Ok(there) if there != input => {}
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(path);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    bail!("{} has no name left for {name}", folder.display())
}

/// Makes an input smaller. Gives the path of a smaller one that fails, beside it, if one was found.
fn minimise(failure: &Path, program: &Path) -> Result<Option<PathBuf>> {
    let mut to = failure.as_os_str().to_owned();
    to.push(".smaller");
    let to = PathBuf::from(to);
    // What an earlier run has left is not a result of this one.
    if to.exists() {
        fs::remove_file(&to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    let exact = format!("-exact_artifact_path={}", to.display());
    let mut command = Command::new(program);
    command.args(["-minimize_crash=1", MINIMISING, &exact]).arg(failure);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().context("making an input smaller")?;
    Ok(to.exists().then_some(to))
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
    use std::fs;

    use super::{name, put};

    #[test]
    fn no_finding_replaces_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let inputs: [&[u8]; 4] = [b"slow", b"slower", b"slow", b"slowest"];
        let names = inputs.map(|input| {
            let path = put(folder.path(), "timeout", input).expect("it can be written");
            assert_eq!(fs::read(&path).expect("it was written"), input);
            path.file_name().expect("a name").to_string_lossy().into_owned()
        });
        assert_eq!(names, ["timeout", "timeout-2", "timeout", "timeout-3"]);
    }

    #[test]
    fn findings_are_named_for_what_they_do() {
        let text = "thread '<unnamed>' panicked at crates/hub/src/download.rs:163:20:\nattempt to subtract with overflow\n";
        assert_eq!(name("crash", text), "download-attempt-to-subtract-with-overflow");
        assert_eq!(name("timeout", "ALARM: working on the last Unit for 20 seconds"), "timeout");
    }
}
