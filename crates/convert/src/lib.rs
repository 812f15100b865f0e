//! Checkpoints as PyTorch saves them, turned into a folder as the Hugging Face Hub serves it: `config.json`,
//! `model.safetensors`, `preprocessor_config.json` and the tokenizer's files.
//!
//! Two kinds are read: transformers' `pytorch_model.bin`, and the original `rd64-uni.pth` and its kin
//! (timojl/clipseg) with OpenAI's `ViT-B-16.pt`. Tensors are renamed, split and transposed as transformers'
//! own conversion script does.
//!
//! A PyTorch file is a zip archive with a pickle in it, and a pickle is a program. It is never run: a reader
//! of its own knows the few opcodes and names that tensors need and refuses all else. Tensors are read one at
//! a time.

mod archive;
mod config;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod hub;
mod layout;
mod original;
mod output;
mod pickle;
mod plan;
mod tensor;
mod tokenizer;
mod zip;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clipseg_clip::processor::{PREPROCESSOR_FILE, PROCESSOR_FILE};
use clipseg_clip::{ClipSegConfig, PreprocessorConfig};

use crate::archive::TorchArchive;
pub use crate::error::{Error, Result};
use crate::output::Folder;
pub use crate::tensor::WeightType;

/// The processor's settings of the published checkpoints, for sources that come without: 352 × 352,
/// ImageNet's mean and deviation, as the original repository normalises.
const PREPROCESSOR: &str = include_str!("preprocessor_config.json");

/// Most bytes of a file that is not weights.
const MAX_TEXT: u64 = 64 << 20;

/// What to convert.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// A folder of transformers' with `pytorch_model.bin` or its index, or a file: one of those, or an
    /// original `.pth`.
    pub source: &'a Path,
    /// The folder to make. It must hold none of the files to be written.
    pub out: &'a Path,
    /// OpenAI's CLIP, for an original that holds the decoder alone.
    pub clip: Option<&'a Path>,
    /// A `config.json` (or the folder of one). For an original: for what shapes do not tell, where it is not
    /// as published. For transformers': instead of the one beside the weights.
    pub config: Option<&'a Path>,
    /// The folder with the tokenizer's files; that of `source` where there is none given.
    pub tokenizer: Option<&'a Path>,
    /// How weights are stored.
    pub weights: WeightType,
}

/// What was converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Number of tensors written.
    pub tensors: usize,
    /// Size of `model.safetensors`.
    pub bytes: u64,
    /// All files written.
    pub files: Vec<PathBuf>,
    /// Parts that were taken out of the names of tensors: `module` of DataParallel, `_orig_mod` of
    /// torch.compile, and their kin, which training had put around the model.
    pub wrappers: Vec<&'static str>,
    /// Tensors of the source that were not written, because no CLIPSeg needs them.
    pub left_out: Vec<String>,
    /// Whether the folder has a tokenizer now; without one, it can be asked by ids alone.
    pub has_tokenizer: bool,
}

/// Converts a checkpoint. `progress` hears of the bytes of weights done, and in all.
///
/// Everything is checked before anything is written, and each file is whole or not there, the weights last: a
/// folder that has `model.safetensors` is complete.
///
/// # Errors
/// Naming the file, tensor or setting: where a file is missing, damaged, of another kind, or asks for more
/// than tensors need; where tensors are missing or do not fit each other; where `out` holds what is to be
/// written.
pub fn convert(request: &Request<'_>, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let archives: Vec<_> = hub::weight_files(request.source)?
        .iter()
        .map(|path| TorchArchive::open(path))
        .collect::<Result<_>>()?;
    let beside = folder_of(request.source);
    let clip = request.clip.map(TorchArchive::open).transpose()?;
    let plan = match &archives[..] {
        [source] if original::is_original(source) => {
            original::plan(source, clip.as_ref(), request.config.map(ClipSegConfig::from_file).transpose()?)?
        }
        [source] if original::holds_clip(source) => {
            return Err(Error::file(
                source.path(),
                "is OpenAI's CLIP without a decoder; name the decoder (rd64-uni-refined.pth) and give this by --clip",
            ));
        }
        _ => {
            if let Some(clip) = request.clip {
                let message =
                    "belongs to an original decoder; a checkpoint of transformers holds its own CLIP";
                return Err(Error::Request(format!("--clip {} {message}", clip.display())));
            }
            hub::plan(&archives, request.config.unwrap_or(beside), request.source)?
        }
    };
    let tokenizer = tokenizer::find(request.tokenizer, beside)?;
    let preprocessor = preprocessor(beside)?;

    let mut small = vec![
        ("config.json", (config_json(plan.config, request.weights) + "\n").into_bytes()),
        ("preprocessor_config.json", preprocessor),
    ];
    let has_tokenizer = !tokenizer.is_empty();
    small.extend(tokenizer);
    refuse_existing(request.out, small.iter().map(|(name, _)| *name).chain(["model.safetensors"]))?;

    let out = Folder::prepare(request.out)?;
    let tensors = plan.parts.len();
    let mut weights = out.start("model.safetensors")?;
    let bytes = weights.write_tensors(plan.parts, request.weights, progress)?;
    let mut files = small.iter().map(|(name, bytes)| out.write(name, bytes)).collect::<Result<Vec<_>>>()?;
    files.push(weights.finish()?);
    let wrappers: BTreeSet<_> =
        archives.iter().chain(&clip).flat_map(|archive| archive.wrappers().iter().copied()).collect();
    let wrappers = wrappers.into_iter().collect();
    Ok(Report { tensors, bytes, files, wrappers, left_out: plan.left_out, has_tokenizer })
}

/// `preprocessor_config.json` for the folder: the one beside the weights, or the settings that transformers 5
/// saves in `processor_config.json`, or else the published ones.
fn preprocessor(beside: &Path) -> Result<Vec<u8>> {
    let own = beside.join(PREPROCESSOR_FILE);
    if own.exists() {
        PreprocessorConfig::from_file(beside)?;
        return clipseg_files::read(&own, MAX_TEXT).map_err(|error| Error::read(&own, error));
    }
    let newer = beside.join(PROCESSOR_FILE).exists().then(|| PreprocessorConfig::from_file(beside));
    match newer.transpose() {
        Ok(Some(config)) => Ok((config.to_json() + "\n").into_bytes()),
        // Of older releases it has no settings of the image processor.
        Ok(None) | Err(clipseg_clip::Error::MissingFile { .. }) => Ok(PREPROCESSOR.as_bytes().to_vec()),
        Err(error) => Err(error.into()),
    }
}

/// The folder that a source's other files are in.
fn folder_of(source: &Path) -> &Path {
    match source.parent() {
        _ if source.is_dir() => source,
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What is there may be what is read, or belong to other weights.
fn refuse_existing<'a>(out: &Path, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    for name in names {
        if out.join(name).exists() {
            let message = "has such a file already; choose another folder, or move it away";
            return Err(Error::Request(format!("--out {}: {name}: {message}", out.display())));
        }
    }
    Ok(())
}

/// The configuration as transformers writes it.
fn config_json(mut config: ClipSegConfig, weights: WeightType) -> String {
    let class = vec!["CLIPSegForImageSegmentation"];
    config.extra.entry("architectures").or_insert(class.into());
    // What transformers 5 calls the same.
    config.extra.remove("dtype");
    config.extra.insert("torch_dtype".to_owned(), weights.torch_name().into());
    config.to_json()
}
