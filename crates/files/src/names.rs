//! The names of a folder's files.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::SMALL_FILES;

/// Most entries of a folder that are read; no checkpoint has that many.
const MANY: usize = 10_000;
/// How many levels of subfolders are searched for a checkpoint; the Hub's cache has three.
const DEEP: usize = 3;
/// Most folders that are searched per level.
const WIDE: usize = 1_000;

/// Names of files; those in subfolders contain a slash (`onnx/model.onnx`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// The names of the files in a folder and in its direct subfolders.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn of_folder(folder: &Path) -> io::Result<Self> {
        let mut names = Self::default();
        for (name, path) in entries(folder)? {
            if path.is_dir() {
                let within = entries(&path).unwrap_or_default();
                let within = within.into_iter().filter(|(_, path)| path.is_file());
                names.0.extend(within.map(|(file, _)| format!("{name}/{file}")));
            } else if path.exists() {
                names.0.insert(name);
            }
        }
        Ok(names)
    }

    /// Whether there is a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The names, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The names of files that are not in subfolders.
    pub(crate) fn top(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|name| !name.contains('/'))
    }
}

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

/// The checkpoint folders within `folder`, at the first level that has any. Finds the folder of each commit
/// in the Hub's cache, and a checkpoint that was unpacked one folder too deep.
pub(crate) fn checkpoints_within(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    for _ in 0..DEEP {
        let within = folders.iter().flat_map(|folder| entries(folder).unwrap_or_default());
        let is_shown = |(name, path): &(String, PathBuf)| !name.starts_with('.') && path.is_dir();
        folders = within.filter(is_shown).map(|(_, path)| path).take(WIDE).collect();
        let found: Vec<_> = folders.iter().filter(|folder| is_checkpoint(folder)).cloned().collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// Whether a folder has a config.json and another file of a checkpoint; a config.json alone may be another
/// program's.
fn is_checkpoint(folder: &Path) -> bool {
    let [config, others @ ..] = SMALL_FILES;
    folder.join(config).exists() && others.iter().any(|name| folder.join(name).exists())
}

/// Names and paths, in alphabetical order. Names that are not UTF-8 are left out; no file of a checkpoint has
/// one.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(folder)?.take(MANY).filter_map(Result::ok);
    let mut entries: Vec<_> =
        entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect();
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_with_those_in_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "onnx/model.onnx", "a/b/config.json", "a/b/vocab.json", "a/c/config.json"]
        {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let names = Names::of_folder(folder.path()).unwrap();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["config.json", "onnx/model.onnx"]);
        assert_eq!(checkpoints_within(folder.path()), [folder.path().join("a/b")]);
        assert!(checkpoints_within(&folder.path().join("a/b")).is_empty());
        assert!(Names::of_folder(&folder.path().join("none")).is_err());
    }
}
