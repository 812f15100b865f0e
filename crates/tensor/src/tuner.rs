//! The autotune cache: the fastest kernel per problem on one adapter, kept in a file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::cache_file::{fingerprint, replace};

/// What a file says, and how: part of the [kernels](Subject::kernels)' hash, so that a file of another format
/// is not read.
pub(crate) const FORMAT: &str = "a problem and the kernels to choose from, and which of them is the fastest";

/// The file's content.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Notes {
    #[serde(flatten)]
    subject: Subject,
    /// The fastest kernel's name, by what was measured: a problem, and the kernels to choose from.
    choices: BTreeMap<String, String>,
}

/// What the choices are valid for: under another driver, or after a change of the kernels, other choices may
/// be the fastest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Subject {
    /// The adapter with its backend and driver.
    pub adapter: String,
    /// A hash of the file's [`FORMAT`] and the kernels' text.
    pub kernels: String,
}

/// The choices for one adapter.
pub(crate) struct Tuner {
    file: PathBuf,
    notes: Mutex<Notes>,
}

impl Tuner {
    /// Reads the choices for `subject` from `folder`: none where the file is missing or damaged.
    pub fn open(folder: &Path, subject: Subject) -> Self {
        let file = folder.join(format!("{}.json", fingerprint([&*subject.adapter, &*subject.kernels])));
        let choices = match read(&file) {
            Ok(notes) if notes.subject == subject => notes.choices,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("{}: {error}; it will be written anew", file.display());
                BTreeMap::new()
            }
            _ => BTreeMap::new(),
        };
        Self { file, notes: Mutex::new(Notes { subject, choices }) }
    }

    /// The place in `names` of the fastest kernel for `task`. Where it is not known, `measure` finds it.
    /// Other threads wait meanwhile, since two measurements at once would disturb each other.
    pub fn choose(
        &self,
        task: &str,
        names: &[&str],
        measure: impl FnOnce() -> Result<usize>,
    ) -> Result<usize> {
        // With other kernels to choose from, such as those on matrix units, another may be the fastest.
        let task = format!("{task}: {}", names.join(", "));
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = notes.choices.get(&task).and_then(|choice| names.iter().position(|name| name == choice));
        if let Some(place) = known {
            return Ok(place);
        }
        let place = measure()?;
        notes.choices.insert(task, names[place].to_owned());
        let written = serde_json::to_vec_pretty(&*notes).map_err(io::Error::from);
        if let Err(error) = written.and_then(|bytes| replace(&self.file, &bytes)) {
            log::warn!("{}: {error}; the next process will measure again", self.file.display());
        }
        Ok(place)
    }
}

fn read(file: &Path) -> io::Result<Notes> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Error;

    const NAMES: [&str; 3] = ["plain", "wide", "tall"];

    fn subject() -> Subject {
        Subject { adapter: "a GPU (driver 1)".to_owned(), kernels: "0123".to_owned() }
    }

    /// The choice for `task` in a new process, where the second of the names is the fastest, and the number
    /// of measurements that it took.
    fn choose(folder: &Path, subject: Subject, task: &str) -> (usize, usize) {
        let measured = Cell::new(0);
        let tuner = Tuner::open(folder, subject);
        let measure = || {
            measured.set(measured.get() + 1);
            Ok(1)
        };
        let first = tuner.choose(task, &NAMES, measure).unwrap();
        assert_eq!(tuner.choose(task, &NAMES, measure).unwrap(), first);
        (first, measured.get())
    }

    /// The files in `folder`; there is one for each subject.
    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_choice_is_measured_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made");
        assert_eq!(choose(&folder, subject(), "8x4"), (1, 1));
        assert_eq!(choose(&folder, subject(), "8x4"), (1, 0));
        assert_eq!(choose(&folder, subject(), "9x4"), (1, 1));
        assert_eq!(choose(&folder, subject(), "8x4"), (1, 0));
        let [file] = &files(&folder)[..] else { panic!("one file, and nothing left of writing it") };
        let notes = read(file).unwrap();
        assert_eq!((notes.subject, notes.choices.len()), (subject(), 2));
    }

    #[test]
    fn a_damaged_file_is_ignored_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        choose(folder.path(), subject(), "8x4");
        let file = &files(folder.path())[0];
        let whole = fs::read(file).unwrap();
        let halved = whole[..whole.len() / 2].to_vec();
        for damage in [halved, Vec::new(), b"[1, 2]".to_vec(), vec![0xff; 100]] {
            fs::write(file, damage).unwrap();
            assert_eq!(choose(folder.path(), subject(), "8x4"), (1, 1));
            assert_eq!(fs::read(file).unwrap(), whole);
        }
    }

    #[test]
    fn another_driver_or_other_kernels_are_measured_anew() {
        let folder = tempfile::tempdir().unwrap();
        choose(folder.path(), subject(), "8x4");
        let file = files(folder.path()).remove(0);
        let driver = Subject { adapter: "a GPU (driver 2)".to_owned(), ..subject() };
        let kernels = Subject { kernels: "4567".to_owned(), ..subject() };
        for other in [driver, kernels] {
            assert_eq!(choose(folder.path(), other.clone(), "8x4"), (1, 1));
            // Even where a file has the name of another subject's file.
            let text = fs::read_to_string(&file).unwrap();
            let foreign = text.replace("driver 1", &other.adapter).replace("0123", &other.kernels);
            fs::write(&file, foreign).unwrap();
            assert_eq!(choose(folder.path(), subject(), "8x4"), (1, 1));
        }
        assert_eq!(choose(folder.path(), subject(), "8x4"), (1, 0));
    }

    // As a device opened with matrix units has more of them than one without.
    #[test]
    fn among_other_kernels_another_is_the_fastest() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(choose(folder.path(), subject(), "8x4"), (1, 1));
        let tuner = Tuner::open(folder.path(), subject());
        let fewer = ["plain", "tall"];
        assert_eq!(tuner.choose("8x4", &fewer, || Ok(1)).unwrap(), 1);
        // Both are kept.
        assert_eq!(choose(folder.path(), subject(), "8x4"), (1, 0));
        let tuner = Tuner::open(folder.path(), subject());
        assert_eq!(tuner.choose("8x4", &fewer, || panic!("measured twice")).unwrap(), 1);
    }

    // Or that does not say among which kernels it was the fastest.
    #[test]
    fn a_choice_that_names_none_of_the_kernels_is_measured_anew() {
        for (from, to) in [("\"wide\"", "\"deep\""), ("\"8x4: plain, wide, tall\"", "\"8x4\"")] {
            let folder = tempfile::tempdir().unwrap();
            choose(folder.path(), subject(), "8x4");
            let file = &files(folder.path())[0];
            let text = fs::read_to_string(file).unwrap();
            assert_eq!(text.matches(from).count(), 1, "{text}");
            fs::write(file, text.replace(from, to)).unwrap();
            assert_eq!(choose(folder.path(), subject(), "8x4"), (1, 1));
        }
    }

    #[test]
    fn a_failed_measurement_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let tuner = Tuner::open(folder.path(), subject());
        let failed = tuner.choose("8x4", &NAMES, || Err(Error::Device("lost".to_owned())));
        assert!(failed.is_err());
        assert_eq!(tuner.choose("8x4", &NAMES, || Ok(2)).unwrap(), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_written_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "no folder").unwrap();
        assert_eq!(choose(&file, subject(), "8x4"), (1, 1));
    }
}
