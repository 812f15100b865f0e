//! Files in the output folder that must not be overwritten.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::settings;
use crate::names::key;
use crate::{npy, pictures};

/// The output folder and the folders within it, each listed when it is first asked for.
pub struct Occupied<'a> {
    folder: &'a Path,
    /// Files that are read, in their canonical form.
    inputs: HashSet<PathBuf>,
    listed: HashMap<PathBuf, HashMap<String, Vec<PathBuf>>>,
}

impl<'a> Occupied<'a> {
    /// For an output folder, which need not be there, and the files that the run reads.
    pub fn new(folder: &'a Path, inputs: impl Iterator<Item = &'a Path>) -> Self {
        let inputs = if folder.is_dir() {
            inputs.filter_map(|path| path.canonicalize().ok()).collect()
        } else {
            HashSet::new()
        };
        Self { folder, inputs, listed: HashMap::new() }
    }

    /// Whether the folder `within` the output folder holds something that must be kept and whose name has
    /// this key: a file that the run reads, or that this program did not write, or anything that is not a
    /// file.
    pub fn has(&mut self, within: &Path, key: &str) -> bool {
        if !self.listed.contains_key(within) {
            self.listed.insert(within.to_owned(), list(&self.folder.join(within)));
        }
        let found = self.listed.get(within).and_then(|files| files.get(key));
        found.is_some_and(|paths| paths.iter().any(|path| self.is_kept(path)))
    }

    fn is_kept(&self, path: &Path) -> bool {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let is_ours = match ending.as_str() {
            "png" => pictures::is_ours(path),
            "npy" => npy::is_ours(path),
            "json" => settings::is_ours(path),
            // No result of a photo has another ending: such a name is only compared with.
            _ => true,
        };
        !path.is_file() || !is_ours || path.canonicalize().is_ok_and(|path| self.inputs.contains(&path))
    }
}

/// The files of a folder by the keys of their names; none where it is not there or cannot be read.
fn list(folder: &Path) -> HashMap<String, Vec<PathBuf>> {
    let mut files = HashMap::<_, Vec<_>>::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        files.entry(key(&entry.file_name().to_string_lossy())).or_default().push(entry.path());
    }
    files
}
