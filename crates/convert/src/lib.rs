//! Converts checkpoints as training leaves them into a folder like those on the Hugging Face Hub:
//! `config.json`, `model.safetensors`, `preprocessor_config.json` and the tokenizer's files.
//!
//! Two kinds are read: transformers' `pytorch_model.bin` or `model.safetensors`, and the original
//! `rd64-uni.pth` and similar files (timojl/clipseg) together with OpenAI's `ViT-B-16.pt`. Tensors are
//! renamed, split and transposed as transformers' own conversion script does. Of safetensors the names and
//! the type of the numbers may change: what training wrappers put into the names is taken out, and weights
//! are stored in half the room.
//!
//! A PyTorch file is a zip archive with a pickle in it, and a pickle is a program. This crate never runs it:
//! its own reader knows the few opcodes and names that tensors need and refuses everything else. Tensors are
//! read one at a time.

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
use clipseg_files::SMALL_FILES;

use crate::archive::Archive;
pub use crate::config::Assumed;
pub use crate::error::{Error, Result};
use crate::output::Folder;
pub use crate::tensor::WeightType;

/// The processor's settings of the published checkpoints, for sources without any: 352 × 352, and normalised
/// by ImageNet's mean and deviation, as in the original repository.
const PREPROCESSOR: &str = include_str!("preprocessor_config.json");

/// Most bytes read of a file that is not weights.
const MAX_TEXT: u64 = 64 << 20;

/// What to convert.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// A folder of transformers with `pytorch_model.bin` or `model.safetensors`, or the index of either; or a
    /// file: one of these, or an original `.pth`.
    pub source: &'a Path,
    /// The folder to create or write to. It must not contain any file of a model.
    pub out: &'a Path,
    /// OpenAI's CLIP, for an original file with only the decoder.
    pub clip: Option<&'a Path>,
    /// A `config.json` or its folder. For an original file, it gives what the shapes do not tell, if that
    /// differs from the published checkpoints; a few settings will do. For transformers' files, it replaces
    /// the one beside the weights.
    pub config: Option<&'a Path>,
    /// The folder with the tokenizer's files; if `None`, that of `source`.
    pub tokenizer: Option<&'a Path>,
    /// The type in which weights are stored.
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
    /// Parts that were removed from tensor names, inserted by wrappers during training: `module` by
    /// DataParallel, `_orig_mod` by torch.compile, and the like.
    pub wrappers: Vec<&'static str>,
    /// Tensors of the source that were not written, because no CLIPSeg needs them.
    pub left_out: Vec<String>,
    /// Settings that no tensor of an original file tells, and that were taken as in the published
    /// checkpoints, because no configuration gives them. Where one of them is not what the decoder was
    /// trained with, its masks are wrong.
    pub assumed: Vec<Assumed>,
    /// Whether the folder now has a tokenizer; without one, the model takes only token ids.
    pub has_tokenizer: bool,
    /// Whether the settings of the processor lay beside the weights, or these are an original file. Otherwise
    /// the folder has the published ones, which may not be the model's: 352 × 352 pixels, normalised by
    /// ImageNet's mean and deviation.
    pub has_preprocessor: bool,
}

/// Converts a checkpoint. `progress` is called with the bytes of weights done so far and in all.
///
/// Everything is checked before anything is written. Each file is either complete or absent, and the weights
/// are finished last: a folder with `model.safetensors` is complete.
///
/// # Errors
/// Where a file is missing, damaged, of another kind, or asks for more than tensors need; where tensors are
/// missing or do not fit each other; where `out` already contains a file of a model. The message names the
/// file, tensor or setting.
pub fn convert(request: &Request<'_>, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let archives: Vec<_> =
        hub::weight_files(request.source)?.iter().map(|path| Archive::open(path)).collect::<Result<_>>()?;
    let beside = folder_of(request.source);
    let clip = request.clip.map(Archive::open).transpose()?;
    let plan = match &archives[..] {
        [source] if original::is_original(source) => original::plan(source, clip.as_ref(), request.config)?,
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
    plan.check_expanded()?;
    let tokenizer = tokenizer::find(request.tokenizer, beside)?;
    let (preprocessor, has_preprocessor) = match preprocessor(beside)? {
        Some(own) => (own, true),
        // Those of the original repository are the published ones.
        None => (PREPROCESSOR.as_bytes().to_vec(), archives.iter().any(original::is_original)),
    };

    let mut small = vec![
        ("config.json", (config_json(plan.config, request.weights) + "\n").into_bytes()),
        ("preprocessor_config.json", preprocessor),
    ];
    let has_tokenizer = !tokenizer.is_empty();
    small.extend(tokenizer);
    refuse_existing(request.out)?;

    let out = Folder::prepare(request.out)?;
    let tensors = plan.parts.len();
    let mut weights = out.start("model.safetensors")?;
    let bytes = weights.write_tensors(plan.parts, request.weights, progress)?;
    let mut files = small.iter().map(|(name, bytes)| out.write(name, bytes)).collect::<Result<Vec<_>>>()?;
    files.push(weights.finish()?);
    let wrappers: BTreeSet<_> =
        archives.iter().chain(&clip).flat_map(|archive| archive.wrappers().iter().copied()).collect();
    let wrappers = wrappers.into_iter().collect();
    let (left_out, assumed) = (plan.left_out, plan.assumed);
    Ok(Report { tensors, bytes, files, wrappers, left_out, assumed, has_tokenizer, has_preprocessor })
}

/// `preprocessor_config.json` for the new folder: the one beside the weights, or the settings that
/// transformers 5 saves in `processor_config.json`; `None` where there is neither.
fn preprocessor(beside: &Path) -> Result<Option<Vec<u8>>> {
    let own = beside.join(PREPROCESSOR_FILE);
    if own.exists() {
        PreprocessorConfig::from_file(beside)?;
        return clipseg_files::read(&own, MAX_TEXT).map(Some).map_err(|error| Error::read(&own, error));
    }
    let newer = beside.join(PROCESSOR_FILE).exists().then(|| PreprocessorConfig::from_file(beside));
    match newer.transpose() {
        Ok(Some(config)) => Ok(Some((config.to_json() + "\n").into_bytes())),
        // Older releases also wrote this file, but without settings of the image processor.
        Ok(None) | Err(clipseg_clip::Error::MissingFile { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The folder with a source's other files.
fn folder_of(source: &Path) -> &Path {
    match source.parent() {
        _ if source.is_dir() => source,
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Refuses a folder that has files of a model already. One to be written may be an input, or belong to other
/// weights; another, such as a tokenizer, would become this model's.
fn refuse_existing(out: &Path) -> Result<()> {
    for name in SMALL_FILES.into_iter().chain(["model.safetensors"]) {
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
    // transformers 5 calls the setting below `dtype`.
    config.extra.remove("dtype");
    config.extra.insert("torch_dtype".to_owned(), weights.torch_name().into());
    config.to_json()
}
