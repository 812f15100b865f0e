//! Writes files, which are either whole or not there, and prints to stdout.

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clipseg_files::Temporary;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;

use crate::segment::photos::EXTENSIONS;

/// Prints to stdout. A reader that has seen enough, such as `head`, is not an error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Prints a value as JSON to stdout.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Prints a value as one line of JSON to stdout.
pub fn print_json_line(value: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string(value)? + "\n"))
}

/// A folder that files can be written to. It is made with the first file, so that a run that fails earlier
/// leaves nothing behind, and need not remove what another run may have made.
#[derive(Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Checks that the folder can be written to or, where it is missing, the one in which it will be made.
    /// `flag` is the option that names the folder.
    pub fn prepare(path: &Path, flag: &str) -> Result<Self> {
        let existing = nearest_existing(path)
            .with_context(|| format!("{flag} {}: cannot be made; choose another folder", path.display()))?;
        Temporary::create(existing).with_context(|| {
            format!("{flag} {}: cannot be written to; choose another folder", path.display())
        })?;
        Ok(Self { path: path.to_owned() })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses to write a file of this name where it is one of the `inputs`, or where there is something
    /// already that is not an earlier run's, by `is_ours`. `flag` is the option that names the folder.
    pub fn check(
        &self,
        name: &str,
        flag: &str,
        inputs: &Inputs,
        is_ours: impl FnOnce(&Path) -> bool,
    ) -> Result<()> {
        let path = self.path.join(name);
        inputs.check(&path, flag)?;
        ensure!(
            !path.exists() || is_ours(&path),
            "{flag} {}: {name} in it was not written by this command; choose another folder, or move it away",
            self.path.display()
        );
        Ok(())
    }

    /// Writes a file of this name, which may lie in a folder within, and returns its path.
    pub fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<PathBuf> {
        self.write_with(name, |file| file.write_all(bytes))
    }

    /// As [`write`](Self::write), piece by piece, for contents that should not be in memory twice.
    pub fn write_with(
        &self,
        name: impl AsRef<Path>,
        pieces: impl FnOnce(&mut Pieces) -> io::Result<()>,
    ) -> Result<PathBuf> {
        let path = self.path.join(name);
        write(&path, pieces)?;
        Ok(path)
    }
}

/// The folder itself, or the innermost folder around it that exists.
fn nearest_existing(path: &Path) -> io::Result<&Path> {
    for path in path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Ok(path),
            Ok(_) => {
                let message = format!("{} is not a folder", path.display());
                return Err(io::Error::new(ErrorKind::NotADirectory, message));
            }
            // A folder cannot be made where there is a link.
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_ok() => {
                let message = format!("{} is a link that leads nowhere", path.display());
                return Err(io::Error::new(ErrorKind::NotFound, message));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Path::new("."))
}

/// The files that a run reads, which no output may replace.
pub struct Inputs(Vec<PathBuf>);

impl Inputs {
    /// The files `read`, and all that lie in the model's folder: which of them are read depends on the
    /// checkpoint, and the others are not worth less.
    pub fn new<'a>(model: &Path, read: impl IntoIterator<Item = &'a Path>) -> Self {
        let of_model = fs::read_dir(model).into_iter().flatten().flatten().map(|entry| entry.path());
        Self(of_model.chain(read.into_iter().map(Path::to_owned)).collect())
    }

    /// Refuses `path`, which `flag` leads to, where it is one of the files.
    pub fn check(&self, path: &Path, flag: &str) -> Result<()> {
        // Links are followed, so that a file is found under any of its names.
        let Ok(target) = path.canonicalize() else { return Ok(()) };
        let same = |input: &&PathBuf| input.canonicalize().is_ok_and(|input| input == target);
        if let Some(input) = self.0.iter().find(same) {
            bail!(
                "{flag} {}: would overwrite {}, which is read or belongs to the model; choose another",
                path.display(),
                input.display()
            );
        }
        Ok(())
    }
}

/// The endings of results that are neither pictures nor safetensors.
const OTHER_RESULTS: [&str; 4] = ["npy", "json", "txt", "yaml"];

/// A safetensors file that can be written.
pub struct File {
    path: PathBuf,
}

impl File {
    /// Checks that `path` can be written, is none of the `inputs`, and does not have a name by which programs
    /// would take it for a file of another kind. `flag` is the option that names the file.
    pub fn prepare(path: &Path, flag: &str, inputs: &Inputs) -> Result<Self> {
        let shown = path.display();
        ensure!(
            path.file_name().is_some() && !path.is_dir(),
            "{flag} {shown}: is a folder; name a file in it"
        );
        // A device or pipe would be replaced, not written to.
        ensure!(
            !path.exists() || path.is_file(),
            "{flag} {shown}: is not a regular file; choose another file"
        );
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        inputs.check(path, flag)?;
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ensure!(
            !EXTENSIONS.contains(&ending.as_str()) && !OTHER_RESULTS.contains(&ending.as_str()),
            "{flag} {shown}: is written as safetensors, but .{ending} is the ending of other files; let the name end in \
             .safetensors"
        );
        Folder::prepare(folder, flag)?;
        Ok(Self { path: path.to_owned() })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        write(&self.path, |file| file.write_all(bytes))
    }

    /// Writes one tensor as a safetensors file.
    pub fn write_tensor(&self, name: &str, shape: &[usize], values: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes)?;
        self.write(&safetensors::serialize([(name, view)], None)?)
    }
}

/// A file that is being written.
pub type Pieces = BufWriter<Temporary>;

/// Writes a temporary file in the same folder, then renames it: readers of the path find the old file or the
/// whole new one.
fn write(path: &Path, pieces: impl FnOnce(&mut Pieces) -> io::Result<()>) -> Result<()> {
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = BufWriter::new(Temporary::create(folder)?);
        pieces(&mut file)?;
        file.into_inner()?.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_with_its_first_file() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = Folder::prepare(&path, "--out").unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        folder.write("file", b"whole").unwrap();
        folder.write("c/file", b"within").unwrap();
        assert_eq!(fs::read(path.join("file")).unwrap(), b"whole");
        assert_eq!(fs::read(path.join("c/file")).unwrap(), b"within");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_before() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("file"), b"").unwrap();
        for path in ["file", "file/a/b", &"a".repeat(300)] {
            let error = Folder::prepare(&parent.path().join(path), "--out").err().unwrap();
            assert!(error.to_string().starts_with("--out"), "{error}");
        }
    }

    #[test]
    fn what_others_wrote_is_not_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::prepare(parent.path(), "--out").unwrap();
        let read = parent.path().join("read");
        let inputs = Inputs::new(&parent.path().join("model"), [read.as_path()]);
        for name in ["ours", "theirs", "read"] {
            folder.write(name, name.as_bytes()).unwrap();
        }
        let check = |name| folder.check(name, "--out", &inputs, |path| fs::read(path).unwrap() != b"theirs");
        check("missing").unwrap();
        check("ours").unwrap();
        for (name, words) in [("theirs", "theirs in it was not written"), ("read", "would overwrite")] {
            let error = check(name).unwrap_err().to_string();
            assert!(error.starts_with("--out") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_read_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        let [photo, shard] = [folder.path().join("photo"), model.join("shard-1.safetensors")];
        fs::create_dir(&model).unwrap();
        fs::write(&photo, b"photo").unwrap();
        fs::write(&shard, b"weights").unwrap();
        let inputs = Inputs::new(&model, [photo.as_path()]);
        for name in ["./photo", "model/shard-1.safetensors", "model/../model/shard-1.safetensors"] {
            let error = File::prepare(&folder.path().join(name), "--out", &inputs).err().unwrap();
            assert!(error.to_string().contains("would overwrite"), "{error}");
        }
        File::prepare(&model.join("new.safetensors"), "--out", &inputs).unwrap();
    }
}
