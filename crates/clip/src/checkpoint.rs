//! The weights of a checkpoint: in a folder, as `model.safetensors` or as several shards with an index, or in
//! memory.

mod finite;
mod location;
pub mod names;
mod progress;
mod shard;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipseg_files::shown;
use clipseg_tensor::wgpu::WasmNotSendSync;
use serde::Deserialize;

use self::location::weights_file;
pub use self::progress::LoadProgress;
use self::progress::Watch;
use self::shard::Shard;
pub use self::view::TensorView;
use crate::error::{Error, Result};
use crate::files::{parse_json, read_text};

/// Name of the weights file in a checkpoint folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the index that lists several weights files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// The weights of one model, by name.
///
/// Tensors are read on demand, and from the file each time, unless the checkpoint is [kept](Self::keep) in
/// memory or was made [from bytes](Self::from_bytes). Cloning is cheap: clones share the files and the
/// memory.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The path that the caller opened, or the label that it gave the bytes.
    path: PathBuf,
    shards: Vec<Arc<Shard>>,
    /// The shard that holds each tensor.
    tensors: BTreeMap<String, usize>,
    watch: Option<Arc<Watch>>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    /// Name of the file that holds each tensor.
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens the weights in the folder `path`: `model.safetensors`, else all shards that
    /// `model.safetensors.index.json` lists, else a variant (`model.fp16.safetensors`). If `path` is a single
    /// safetensors file, that file is opened.
    ///
    /// # Errors
    /// Where the folder, the weights or a shard are missing, or where a file's header contradicts its
    /// contents.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let kind = std::fs::metadata(path).map_err(|source| Error::read(path, source))?;
        if !kind.is_dir() {
            return Self::open_single(path, path);
        }
        let weights = weights_file(path)?;
        let file = path.join(&weights.file);
        if weights.is_index { Self::open_sharded(path, &file) } else { Self::open_single(path, &file) }
    }

    /// Checks, by file names alone, that the folder `path` has weights to open.
    ///
    /// # Errors
    /// Where the folder cannot be read or has no weights; the error says what it has instead.
    pub fn find(path: impl AsRef<Path>) -> Result<()> {
        weights_file(path.as_ref()).map(drop)
    }

    /// Weights in memory: the bytes of a safetensors file, owned (`Vec<u8>`, `Arc<[u8]>`, a mapped file) or
    /// compiled in (`include_bytes!`). They are used in place, without a copy. Errors call them `label`.
    ///
    /// # Errors
    /// Where the header contradicts the contents.
    ///
    /// ```
    /// use clipseg_clip::{Checkpoint, Error};
    ///
    /// let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    /// let file = [&(header.len() as u64).to_le_bytes()[..], header, &1.5_f32.to_le_bytes()].concat();
    /// let checkpoint = Checkpoint::from_bytes("my weights", file)?;
    /// assert_eq!(checkpoint.tensor("a", &[1])?.to_f32()?, [1.5]);
    ///
    /// let error = Checkpoint::from_bytes("my weights", b"Not found").unwrap_err();
    /// assert!(error.to_string().starts_with("my weights: is not a safetensors file"));
    /// # Ok::<_, Error>(())
    /// ```
    pub fn from_bytes(
        label: impl AsRef<Path>,
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> Result<Self> {
        let label = label.as_ref();
        Ok(Self::of_shard(label, Shard::of_bytes(label, bytes)?))
    }

    /// Weights behind a reader: a safetensors file within an archive, or one that is decrypted as it is read.
    /// The file starts at the reader's position 0. Each tensor is read on demand. Errors call the reader
    /// `label`.
    ///
    /// # Errors
    /// Where the reader fails, or the header contradicts the contents.
    pub fn from_reader(label: impl AsRef<Path>, reader: impl Read + Seek + Send + 'static) -> Result<Self> {
        let label = label.as_ref();
        Ok(Self::of_shard(label, Shard::of_reader(label, reader)?))
    }

    /// The weights of several shards as one checkpoint. Errors about the whole call it `label`. Nobody is
    /// told of its progress: call [`with_progress`](Self::with_progress) on the whole, not on the shards.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where two shards have a tensor of the same name.
    pub fn from_shards(label: impl AsRef<Path>, shards: impl IntoIterator<Item = Self>) -> Result<Self> {
        let path = label.as_ref().to_owned();
        let mut whole = Self { path, shards: Vec::new(), tensors: BTreeMap::new(), watch: None };
        for part in shards {
            let before = whole.shards.len();
            whole.shards.extend(part.shards);
            for (name, shard) in part.tensors {
                if let Some(&other) = whole.tensors.get(&name) {
                    let (path, other) = (whole.shards[before + shard].path(), whole.shards[other].path());
                    let (name, other) = (shown(&name), other.display());
                    return Err(Error::checkpoint(
                        path,
                        format!("has the tensor `{name}`, which {other} has too"),
                    ));
                }
                whole.tensors.insert(name, before + shard);
            }
        }
        Ok(whole)
    }

    /// The same checkpoint, which reports each weight that a model reads to `progress`. If `progress` returns
    /// `Break`, the loading stops with [`Error::Cancelled`], and so does every later loading from this value;
    /// the device memory that the loading took is freed.
    ///
    /// Weights are read by several threads at once, but `progress` is called by one at a time.
    ///
    /// ```no_run
    /// # fn run(device: &clipseg_tensor::Device) -> clipseg_clip::Result<()> {
    /// use std::ops::ControlFlow;
    ///
    /// let checkpoint = clipseg_clip::Checkpoint::open("clipseg-rd64-refined")?;
    /// let checkpoint = checkpoint.with_progress(|progress| {
    ///     println!("{:.0} %", 100.0 * progress.share());
    ///     ControlFlow::Continue(())
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_progress(
        &self,
        progress: impl Fn(LoadProgress) -> ControlFlow<()> + WasmNotSendSync + 'static,
    ) -> Self {
        let weights = self.names().filter_map(|name| self.get(name)).filter(TensorView::is_weight);
        let total = weights.map(|weight| weight.size()).sum();
        Self { watch: Some(Arc::new(Watch::new(total, progress))), ..self.clone() }
    }

    fn of_shard(path: &Path, shard: Shard) -> Self {
        let tensors = shard.names().into_iter().map(|name| (name, 0)).collect();
        Self { path: path.to_owned(), shards: vec![Arc::new(shard)], tensors, watch: None }
    }

    fn open_single(path: &Path, file: &Path) -> Result<Self> {
        Ok(Self::of_shard(path, Shard::open(file)?))
    }

    fn open_sharded(path: &Path, index: &Path) -> Result<Self> {
        let text = read_text(index, "it lists the shards")?;
        let Index { weight_map } = parse_json(&text).map_err(|error| {
            Error::checkpoint(index, format!("is not an index of safetensors shards: {error}"))
        })?;
        let mut shards = Vec::new();
        let mut shard_of_file = HashMap::new();
        let mut tensors = BTreeMap::new();
        for (name, file) in weight_map {
            let shard = match shard_of_file.get(&file) {
                Some(&shard) => shard,
                None => {
                    shards.push(Arc::new(open_listed_shard(path, index, &file)?));
                    shard_of_file.insert(file.clone(), shards.len() - 1);
                    shards.len() - 1
                }
            };
            if !shards[shard].contains(&name) {
                return Err(Error::checkpoint(
                    index,
                    format!(
                        "says that `{}` is in {}, which does not hold it; download both again",
                        shown(&name),
                        shown(&file)
                    ),
                ));
            }
            tensors.insert(name, shard);
        }
        Ok(Self { path: path.to_owned(), shards, tensors, watch: None })
    }

    /// Reads the whole checkpoint into memory, which takes as much as the files are long. Models are then
    /// loaded without touching the files: again after a device was lost, or on a second device.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn keep(mut self) -> Result<Self> {
        for shard in &mut self.shards {
            if let Some(kept) = shard.kept()? {
                *shard = Arc::new(kept);
            }
        }
        Ok(self)
    }

    /// The path that was opened, or the label that was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Whether any tensor's name starts with `prefix`.
    pub fn contains_prefix(&self, prefix: &str) -> bool {
        self.tensors.range(prefix.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// The tensor `name`, whatever its shape and type, or `None` where there is none.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        self.shards[*self.tensors.get(name)?].view(name)
    }

    /// The weights `name`, which must have the shape `expected` and be stored as f32, f16, bf16 or f64.
    ///
    /// # Errors
    /// Where the tensor is missing, has another shape, or has a type that weights cannot have; the error
    /// names the tensor, what was expected and what was found.
    pub fn tensor(&self, name: &str, expected: &[usize]) -> Result<TensorView<'_>> {
        let view = self.get(name).ok_or_else(|| Error::MissingTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            expected: expected.to_vec(),
        })?;
        view.expect(expected)?;
        Ok(view)
    }

    /// The values of the weights `name`, for a model; reports to the listener of
    /// [`with_progress`](Self::with_progress).
    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let view = self.tensor(name, shape)?;
        let Some(watch) = &self.watch else { return view.to_f32() };
        watch.check()?;
        let values = view.to_f32()?;
        watch.tell(name, view.size())?;
        Ok(values)
    }
}

/// Opens a shard that the index lists. The index is untrusted: a name that leads out of the folder is
/// refused.
fn open_listed_shard(folder: &Path, index: &Path, file: &str) -> Result<Shard> {
    if Path::new(file).file_name() != Some(file.as_ref()) {
        return Err(Error::checkpoint(
            index,
            format!("lists the shard {:?}, which is not a plain file name", shown(file)),
        ));
    }
    let path = folder.join(file);
    if !path.exists() {
        return Err(Error::MissingFile {
            path,
            hint: format!("{INDEX_FILE} lists it as a shard; download it"),
        });
    }
    Shard::open(&path)
}
