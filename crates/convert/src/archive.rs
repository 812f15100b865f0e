//! Files of tensors: PyTorch's, which are zip archives with a pickle that describes the tensors and one entry
//! for each of their storages, and safetensors.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clipseg_clip::checkpoint::names;
use clipseg_clip::{Checkpoint, StandIn};
use clipseg_files::{merge_adapter, shown};

use crate::error::{Error, Result};
use crate::pickle::{self, Dialect, MAX_PROGRAM};
use crate::tensor::{Storage, StoredTensor};
use crate::zip::Zip;

/// The first bytes of a zip archive.
const ZIP: &[u8] = b"PK";
/// The first bytes of a file from PyTorch before 1.6: a pickle of protocol 2.
const LEGACY: &[u8] = &[0x80, 0x02];

/// Longest header of safetensors, in bytes; what begins with a larger number is another file.
const MAX_HEADER: u64 = 100_000_000;

/// An open file that `torch.save` or `torch.jit.save` wrote, or one of safetensors.
pub(crate) struct Archive {
    path: PathBuf,
    contents: Contents,
    /// By name, without the parts in `wrappers`.
    tensors: BTreeMap<String, StoredTensor>,
    /// Name parts that training wrappers inserted.
    wrappers: BTreeSet<&'static str>,
    /// The storage that was read last, with its key: several tensors may share one storage.
    last: RefCell<Option<(Rc<str>, Vec<u8>)>>,
}

/// Where the numbers are.
enum Contents {
    Torch {
        zip: Zip,
        /// The folder in the archive that contains all entries, ending in a slash.
        root: String,
    },
    /// Each tensor is a storage of its own, whose key is the tensor's name.
    Safetensors(Checkpoint),
}

impl Archive {
    /// Reads the descriptions of all tensors and checks that their storages exist and have the right lengths.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (file, start) = open_start(path).map_err(|source| Error::read(path, source))?;
        if let Some(stand_in) = StandIn::recognise(&start) {
            return Err(Error::stand_in(path, stand_in));
        }
        if is_safetensors(&start) { Self::of_safetensors(path) } else { Self::of_torch(path, file, &start) }
    }

    fn of_torch(path: &Path, file: File, start: &[u8]) -> Result<Self> {
        let refuse = |message: String| Error::file(path, message);
        check_zip(start).map_err(refuse)?;
        let zip = Zip::open(file).map_err(refuse)?;
        let root = find_root(&zip).map_err(refuse)?;
        check_byte_order(&zip, &root).map_err(refuse)?;
        let torch_script = zip.contains(&format!("{root}constants.pkl"));
        let dialect = if torch_script { Dialect::TorchScript } else { Dialect::StateDict };
        let program = read_program(&zip, &root).map_err(refuse)?;
        let described = pickle::read_tensors(&program, dialect).map_err(refuse)?;
        for (name, tensor) in &described {
            check_storage(&zip, &root, tensor.storage())
                .map_err(|message| refuse(format!("{message} (tensor `{}`)", shown(name))))?;
        }
        Self::of(path, Contents::Torch { zip, root }, described)
    }

    fn of_safetensors(path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let views = checkpoint.names().filter_map(|name| Some((name, checkpoint.get(name)?)));
        let described = views.map(|(name, view)| {
            let tensor = Storage::new(name.into(), view.dtype(), view.len())
                .and_then(|storage| StoredTensor::whole(storage, view.shape()));
            tensor
                .map(|tensor| (name.to_owned(), tensor))
                .map_err(|message| Error::tensor(path, name, message))
        });
        let described = described.collect::<Result<Vec<_>>>()?;
        Self::of(path, Contents::Safetensors(checkpoint), described)
    }

    /// Takes out of the names what training wrappers inserted.
    fn of(path: &Path, contents: Contents, described: Vec<(String, StoredTensor)>) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        let mut wrappers = BTreeSet::new();
        for (name, tensor) in described {
            if names::is_of_adapter(&name) {
                return Err(Error::file(path, merge_adapter(&name)));
            }
            let (own, found) = names::unwrapped(&name);
            if tensors.insert(own.into_owned(), tensor).is_some() {
                let message = match found.is_empty() && wrappers.is_empty() {
                    true => "is there twice; save the model again",
                    false => {
                        "is there twice, once with a wrapper's name in its own; re-save the model inside the wrapper"
                    }
                };
                return Err(Error::tensor(path, &name, message));
            }
            wrappers.extend(found);
        }
        Ok(Self { path: path.to_owned(), contents, tensors, wrappers, last: RefCell::default() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name parts that training wrappers had inserted into tensor names.
    pub(crate) fn wrappers(&self) -> &BTreeSet<&'static str> {
        &self.wrappers
    }

    /// All tensors, by name.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// Reads a tensor of this archive: row-major, little-endian, in the type it is stored in.
    pub(crate) fn read(&self, tensor: &StoredTensor) -> Result<Vec<u8>> {
        let storage = tensor.storage();
        let mut last = self.last.borrow_mut();
        let bytes = match last.take() {
            Some((key, bytes)) if key == storage.key => bytes,
            _ => self.read_storage(&storage.key)?,
        };
        // `open` has checked the length in the directory, and `Zip::read` fails on any other, so that the
        // storage has all of the tensor's numbers.
        let numbers = tensor.gather(&bytes);
        *last = Some((storage.key.clone(), bytes));
        Ok(numbers)
    }

    fn read_storage(&self, key: &str) -> Result<Vec<u8>> {
        match &self.contents {
            Contents::Torch { zip, root } => {
                zip.read(&format!("{root}data/{key}")).map_err(|message| Error::file(&self.path, message))
            }
            Contents::Safetensors(checkpoint) => {
                let view = checkpoint.get(key).ok_or_else(|| Error::tensor(&self.path, key, "is missing"))?;
                Ok(view.bytes()?)
            }
        }
    }
}

/// Opens a file, and reads its first bytes.
fn open_start(path: &Path) -> std::io::Result<(File, Vec<u8>)> {
    let mut file = clipseg_files::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(256).read_to_end(&mut start)?;
    file.rewind()?;
    Ok((file, start))
}

/// Whether a file of these first bytes is safetensors: the length of a header, then the header in JSON.
fn is_safetensors(start: &[u8]) -> bool {
    start
        .split_first_chunk()
        .is_some_and(|(length, header)| u64::from_le_bytes(*length) <= MAX_HEADER && header.starts_with(b"{"))
}

/// Checks that a file starts like a zip archive. For any other file, the error says what it is and what to
/// do, as far as the first bytes tell.
fn check_zip(start: &[u8]) -> Result<(), String> {
    if start.starts_with(LEGACY) {
        return Err(
            "is of PyTorch's format before 1.6, which is not read. Re-save it, if you trust where it comes from: python \
             -c \"import sys, torch; torch.save(torch.load(sys.argv[1], map_location='cpu', weights_only=True), \
             sys.argv[2])\" OLD NEW"
                .to_owned(),
        );
    }
    if !start.starts_with(ZIP) {
        return Err("is not a file of PyTorch, which are zip archives, and not safetensors".to_owned());
    }
    Ok(())
}

/// The folder that contains `data.pkl`.
fn find_root(zip: &Zip) -> Result<String, String> {
    let mut roots = zip
        .names()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .filter(|root| root.is_empty() || root.ends_with('/') && root.matches('/').count() == 1);
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root.to_owned()),
        (None, _) => {
            Err("is a zip archive, but not one of PyTorch: it has no data.pkl; unpack it first".to_owned())
        }
        (Some(_), Some(_)) => Err("is not an archive of PyTorch: it has several data.pkl".to_owned()),
    }
}

/// Older files do not state their byte order; they come from little-endian machines.
fn check_byte_order(zip: &Zip, root: &str) -> Result<(), String> {
    let entry = format!("{root}byteorder");
    if zip.contains(&entry) && zip.read(&entry)? != b"little" {
        return Err("was written by a big-endian machine; re-save it on a little-endian one".to_owned());
    }
    Ok(())
}

fn read_program(zip: &Zip, root: &str) -> Result<Vec<u8>, String> {
    let entry = format!("{root}data.pkl");
    let size = zip.size(&entry)?;
    if size > MAX_PROGRAM {
        return Err(format!(
            "has {entry} of {size} bytes, more than the {MAX_PROGRAM} that a model could need"
        ));
    }
    zip.read(&entry)
}

/// Checks that a storage's entry exists, can be read, and is as long as the pickle says.
fn check_storage(zip: &Zip, root: &str, storage: &Storage) -> Result<(), String> {
    let entry = format!("{root}data/{}", storage.key);
    let size = zip.size(&entry)?;
    if size != storage.bytes() as u64 {
        let entry = shown(&entry);
        return Err(format!(
            "has {entry} of {size} bytes, where {} numbers of {:?} take {}; download it again",
            storage.length,
            storage.dtype,
            storage.bytes()
        ));
    }
    Ok(())
}
