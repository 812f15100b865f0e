//! Converts checkpoints of transformers: `pytorch_model.bin` or `model.safetensors`, or shards with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clipseg_clip::config::CONFIG_FILE;
use clipseg_clip::{ClipSegConfig, StandIn};
use clipseg_files::{Form, shown};
use serde::Deserialize;

use crate::MAX_TEXT;
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::layout;
use crate::plan::{Part, Plan};

/// `pytorch_model.bin.index.json` or `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    /// Name of the file that holds each tensor.
    weight_map: BTreeMap<String, String>,
}

/// The weights files that `source` stands for: the file itself, the shards that it lists if it is an index,
/// or the weights in it if it is a folder. Of a folder that has both, PyTorch's are taken.
pub(crate) fn weight_files(source: &Path) -> Result<Vec<PathBuf>> {
    let kind = std::fs::metadata(source).map_err(|error| Error::read(source, error))?;
    if !kind.is_dir() {
        let is_index = source.extension().is_some_and(|extension| extension == "json");
        return if is_index { shards(source) } else { Ok(vec![source.to_owned()]) };
    }
    let find = |form: Form| form.find_in(source).map_err(|error| Error::read(source, error));
    let found = match find(Form::PyTorch)? {
        Ok(found) => found,
        Err(message) => find(Form::Safetensors)?.map_err(|_| Error::file(source, message))?,
    };
    let file = source.join(found.file);
    if found.is_index { shards(&file) } else { Ok(vec![file]) }
}

fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let text = clipseg_files::read(index, MAX_TEXT).map_err(|error| Error::read(index, error))?;
    if let Some(stand_in) = StandIn::recognise(&text) {
        return Err(Error::stand_in(index, stand_in));
    }
    let Index { weight_map } = serde_json::from_slice(&text)
        .map_err(|error| Error::file(index, format!("is not an index of shards: {error}")))?;
    let files: BTreeSet<String> = weight_map.into_values().collect();
    let folder = index.parent().unwrap_or(Path::new(""));
    files
        .into_iter()
        .map(|file| {
            // The index is untrusted: a name that leads out of the folder is refused.
            if Path::new(&file).file_name() != Some(file.as_ref()) {
                return Err(Error::file(
                    index,
                    format!("lists the shard {:?}, which is not a plain file name", shown(&file)),
                ));
            }
            let path = folder.join(file);
            if !path.exists() {
                return Err(Error::file(&path, "is missing: the index lists it as a shard; download it"));
            }
            Ok(path)
        })
        .collect()
}

/// Plans to write the tensors of the model in the file `config` unchanged, after checking that they exist.
/// `path` is what the user named as the source.
pub(crate) fn plan<'a>(archives: &'a [Archive], config: &Path, path: &Path) -> Result<Plan<'a>> {
    let mut tensors = BTreeMap::new();
    for archive in archives {
        for (name, tensor) in archive.tensors() {
            if tensors.insert(name.clone(), Part::new(archive, name, tensor.clone())).is_some() {
                return Err(Error::tensor(archive.path(), name, "is in another shard too"));
            }
        }
    }
    let starts = |prefix: &str| tensors.keys().any(|name| name.starts_with(prefix));
    let prefix = if starts("clip.") { "clip." } else { "" };
    if !starts(&format!("{prefix}text_model.")) || !starts(&format!("{prefix}vision_model.")) {
        let sample: Vec<_> = tensors.keys().take(3).map(|name| shown(name)).collect();
        return Err(Error::file(
            path,
            format!(
                "holds no CLIPSeg, neither transformers' (`clip.text_model.…`) nor the original's (`film_mul.weight`); \
                 its first tensors: {sample:?}"
            ),
        ));
    }
    let file = if config.is_dir() { config.join(CONFIG_FILE) } else { config.to_owned() };
    let config = ClipSegConfig::from_file(&file)?;
    let clip =
        layout::clip(&config).into_iter().map(|wanted| (format!("{prefix}{}", wanted.name), wanted.shape));
    // A `CLIPSegModel` has no decoder.
    let decoder = if starts("decoder.") {
        config.validate().map_err(|error| error.in_file(&file))?;
        layout::decoder(&config)
    } else {
        Vec::new()
    };
    let mut parts = Vec::new();
    for (name, shape) in clip.chain(decoder.into_iter().map(|wanted| (wanted.name, wanted.shape))) {
        let Some(part) = tensors.remove(&name) else {
            let message =
                format!("is missing (expected shape {shape:?}): the weights do not fit config.json");
            return Err(Error::tensor(path, &name, message));
        };
        if part.tensor.shape() != shape {
            let message = format!("has shape {:?}, config.json implies {shape:?}", part.tensor.shape());
            return Err(Error::tensor(part.archive.path(), &name, message));
        }
        part.check_weight()?;
        parts.push((name, part));
    }
    // Older releases save these with the weights, and as whole numbers.
    for tower in ["text", "vision"] {
        let name = format!("{prefix}{tower}_model.embeddings.position_ids");
        let part = tensors.remove(&name);
        parts.extend(part.map(|part| (name, part)));
    }
    Ok(Plan { parts, left_out: tensors.into_keys().collect(), assumed: Vec::new(), config })
}
