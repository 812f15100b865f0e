//! Writes the folder of a conversion.

use std::collections::HashMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clipseg_files::Temporary;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::{Error, Result};
use crate::plan::Part;
use crate::tensor::{WeightType, item_size};

/// A folder to write to. It is created if it does not exist, and removed again if nothing was written.
pub(crate) struct Folder {
    path: PathBuf,
    /// The folders that were created, the innermost first.
    created: Vec<PathBuf>,
}

impl Folder {
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        let mut around = path.ancestors().filter(|path| !path.as_os_str().is_empty());
        if let Some(taken) = around.find(|path| path.is_symlink() || path.exists()).filter(|it| !it.is_dir())
        {
            return Err(Error::Request(format!(
                "--out {}: {} is not a folder; name one, which is made where it is missing",
                path.display(),
                taken.display()
            )));
        }
        let missing = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let folder = Self { path: path.to_owned(), created: missing.map(Path::to_owned).collect() };
        fs::create_dir_all(path).map_err(|error| Error::write(path, error))?;
        Ok(folder)
    }

    /// Starts a file that gets its final name when it is complete.
    pub(crate) fn start(&self, name: &str) -> Result<Pending> {
        let file = Temporary::create(&self.path).map_err(|error| Error::write(&self.path, error))?;
        Ok(Pending { file, path: self.path.join(name) })
    }

    /// Writes a small file.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let mut pending = self.start(name)?;
        pending.file.write_all(bytes).map_err(|error| Error::write(&pending.path, error))?;
        pending.finish()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for folder in &self.created {
            // Fails, as it should, if the folder is not empty.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A file without its final name; it is deleted when dropped.
pub(crate) struct Pending {
    file: Temporary,
    path: PathBuf,
}

impl Pending {
    /// Gives the file its final name, unless such a file exists by now.
    pub(crate) fn finish(self) -> Result<PathBuf> {
        let path = self.path;
        self.file.persist_noclobber(&path).map_err(|error| Error::write(&path, error))?;
        Ok(path)
    }

    /// Writes tensors as safetensors, reading them one at a time. `progress` is called with the bytes done so
    /// far and in all. Returns the file's length in bytes.
    pub(crate) fn write_tensors(
        &mut self,
        mut parts: Vec<(String, Part<'_>)>,
        weights: WeightType,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<u64> {
        // The order of the safetensors crate: wider types first, so that all are aligned, then by name.
        let dtype = |part: &Part<'_>| weights.of(part.tensor.dtype());
        parts.sort_by(|(a, left), (b, right)| dtype(right).cmp(&dtype(left)).then(a.cmp(b)));
        let mut end = 0;
        let infos = parts.iter().map(|(name, part)| {
            let start = end;
            end += part.tensor.len() * item_size(dtype(part));
            let shape = part.tensor.shape().to_vec();
            (name.clone(), TensorInfo { dtype: dtype(part), shape, data_offsets: (start, end) })
        });
        // transformers refuses a file that does not name its framework.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let infos = infos.collect();
        let refuse = |error: &dyn std::fmt::Display| {
            Error::write(&self.path, std::io::Error::other(format!("no header of safetensors: {error}")))
        };
        let header = Metadata::new(Some(metadata), infos).map_err(|error| refuse(&error))?;
        let mut header = serde_json::to_vec(&header).map_err(|error| refuse(&error))?;
        header.resize(header.len().next_multiple_of(8), b' ');

        let failed = |error| Error::write(&self.path, error);
        let mut file = BufWriter::new(self.file.as_file());
        file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        file.write_all(&header).map_err(failed)?;
        let mut done = 0;
        for (_, part) in parts {
            let stored = part.archive.read(&part.tensor)?;
            let bytes = weights.convert(part.tensor.dtype(), stored).map_err(|number| {
                let message = match number.is_finite() {
                    true => format!("holds {number:e}, more than {} can be; choose --dtype f32", weights.torch_name()),
                    false => format!(
                        "holds {number}, which is not a finite number. Either the weights are damaged (download them \
                         again), or the training that made them diverged (take an earlier checkpoint)"
                    ),
                };
                Error::tensor(part.archive.path(), &part.name, message)
            })?;
            file.write_all(&bytes).map_err(failed)?;
            done += bytes.len();
            progress(done as u64, end as u64);
        }
        file.flush().map_err(failed)?;
        Ok((8 + header.len() + end) as u64)
    }
}
