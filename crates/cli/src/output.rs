//! Files that are whole or not there, and stdout.

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::{Dtype, TensorView};
use tempfile::NamedTempFile;

/// Prints to stdout. A reader that has seen enough, such as `head`, is no error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Prints a value as JSON to stdout.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// A folder that files can be written to, made when it was not there; taken away again when nothing was.
pub struct Folder {
    path: PathBuf,
    /// Folders that did not exist before, the innermost first.
    created: Vec<PathBuf>,
}

impl Folder {
    /// Makes the folder where it is missing and tries to write to it; `flag` is what the user gave it by.
    pub fn prepare(path: &Path, flag: &str) -> Result<Self> {
        let missing = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let folder = Self { path: path.to_owned(), created: missing.map(Path::to_owned).collect() };
        fs::create_dir_all(path)
            .with_context(|| format!("{flag} {}: cannot be made; choose another folder", path.display()))?;
        new_file(path).with_context(|| {
            format!("{flag} {}: cannot be written to; choose another folder", path.display())
        })?;
        Ok(folder)
    }

    /// Writes a file of this name and returns its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        self.write_with(name, |file| file.write_all(bytes))
    }

    /// As [`write`](Self::write), piece by piece: for what need not be in memory twice.
    pub fn write_with(
        &self,
        name: &str,
        pieces: impl FnOnce(&mut Pieces) -> io::Result<()>,
    ) -> Result<PathBuf> {
        let path = self.path.join(name);
        write(&path, pieces)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for folder in &self.created {
            // Refused, as it should be, for a folder that something is in.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A file that can be written.
pub struct File {
    path: PathBuf,
    _folder: Folder,
}

impl File {
    /// Checks that `path` can be written and is none of the files that are read; `flag` is what the user gave
    /// it by.
    pub fn prepare(path: &Path, flag: &str, inputs: &[&Path]) -> Result<Self> {
        let shown = path.display();
        ensure!(
            path.file_name().is_some() && !path.is_dir(),
            "{flag} {shown}: is a folder; name a file in it"
        );
        // A device or pipe would be replaced, not written to.
        ensure!(!path.exists() || path.is_file(), "{flag} {shown}: is no regular file; choose another file");
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if let Ok(target) = path.canonicalize() {
            let same = |input: &&&Path| input.canonicalize().is_ok_and(|input| input == target);
            if let Some(input) = inputs.iter().find(same) {
                bail!(
                    "{flag} {shown}: would overwrite {}, which is read; choose another file",
                    input.display()
                );
            }
        }
        Ok(Self { path: path.to_owned(), _folder: Folder::prepare(folder, flag)? })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one tensor as a safetensors file.
    pub fn write_tensor(&self, name: &str, shape: &[usize], values: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes)?;
        let bytes = safetensors::serialize([(name, view)], None)?;
        write(&self.path, |file| file.write_all(&bytes))
    }
}

/// A file that is being written.
pub type Pieces = BufWriter<NamedTempFile>;

/// Writes a file beside its place, then moves it there: who reads the path finds the old file or the whole
/// new one.
fn write(path: &Path, pieces: impl FnOnce(&mut Pieces) -> io::Result<()>) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut file = BufWriter::new(new_file(path.parent().unwrap_or(Path::new(".")))?);
        pieces(&mut file)?;
        file.into_inner()?.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A file without a lasting name, which goes when it is dropped.
fn new_file(folder: &Path) -> io::Result<NamedTempFile> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".clipseg-");
    // As any new file, not for the owner alone as temporary ones are; the umask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_stays_empty_goes_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        drop(Folder::prepare(&path, "--out").unwrap());
        assert!(!parent.path().join("a").exists() && parent.path().exists());

        let folder = Folder::prepare(&path, "--out").unwrap();
        folder.write("file", b"whole").unwrap();
        drop(folder);
        assert_eq!(fs::read(path.join("file")).unwrap(), b"whole");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_read_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let photo = folder.path().join("photo.png");
        fs::write(&photo, b"photo").unwrap();
        let error = File::prepare(&folder.path().join("./photo.png"), "--out", &[&photo]).err().unwrap();
        assert!(error.to_string().contains("would overwrite"), "{error}");
    }
}
