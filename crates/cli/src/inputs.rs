//! Arguments that several commands share, and reading what they name.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clipseg::{
    AdapterChoice, ClipSeg, ClipSegConfig, ClipSegForImageSegmentation, Device, DeviceOptions, Error,
    KernelFamily, MatrixUnits, Orientation, PhotoFile, PipelineStore, Precision, Processor, TextBatch,
    Tokenizer,
};
use clipseg_files::shown;

use crate::model::Model;
use crate::{bytes, report};

/// The adapter to run on.
#[derive(Args)]
pub struct AdapterArguments {
    /// Where to run: an adapter's number in `clipseg devices` or part of its name, `cpu` for the processor,
    /// which needs no driver, or `driver` for the best adapter that a driver offers, software ones too
    /// [default: the first: a GPU where there is one, else the processor].
    #[arg(long, value_name = "NAME|INDEX|cpu|driver")]
    adapter: Option<String>,
    /// How weights are stored on it: in 16 bits where that loses nothing (auto), never (f32), or always
    /// (f16), which halves the memory of any checkpoint and, on GPUs, also stores activations inside the
    /// transformer blocks in 16 bits. The processor rounds them too, but stores all in 32 bits. Arithmetic is
    /// in 32 bits.
    #[arg(long, default_value = "auto", value_parser = precision_parser())]
    precision: Precision,
    /// Multiply on the adapter's matrix units, with --precision f16: never, where its driver passed our tests
    /// (known), or wherever there are kernels for them (any). What drivers do with them is young: compare
    /// masks before you trust one that is not known.
    #[arg(long, value_name = "WHERE", default_value = "off", value_parser = matrix_units_parser())]
    matrix_units: MatrixUnits,
    /// Measure which kernels of products, attention, layer norm and softmax are fastest on the adapter, of
    /// those whose numbers are right there, and remember it in the user's cache folder. Takes seconds for
    /// each new size of photos and number of prompts.
    #[arg(long)]
    tune_kernels: bool,
    /// The most memory to use on the adapter, such as 512MB or 2GB [default: as much as there is]. To stay
    /// within it, prompts are decoded in parts and large maps in tiles; less than the weights and one prompt
    /// need is refused.
    #[arg(long, value_name = "SIZE", value_parser = bytes::parse)]
    memory: Option<u64>,
}

impl AdapterArguments {
    /// Opens the adapter.
    pub fn open(&self) -> Result<Device> {
        self.open_with(KernelFamily::Auto)
    }

    /// Opens the adapter with a family of kernels.
    pub fn open_with(&self, kernels: KernelFamily) -> Result<Device> {
        let choice = match &self.adapter {
            None => AdapterChoice::default(),
            Some(adapter) => {
                let Ok(choice) = adapter.parse();
                choice
            }
        };
        ensure!(
            self.matrix_units == MatrixUnits::Off || self.precision == Precision::F16,
            "--matrix-units: they multiply in f16; add --precision f16, or leave out --matrix-units"
        );
        let caches = user_cache_folder();
        let tuning = self
            .tune_kernels
            .then(|| caches.clone().context("--tune-kernels: there is no cache folder; set XDG_CACHE_HOME"));
        let options = DeviceOptions {
            adapter: choice,
            kernels,
            precision: self.precision,
            matrix_units: self.matrix_units,
            memory_budget: self.memory,
            tuning: tuning.transpose()?,
            pipeline_cache: caches.map(PipelineStore::Folder),
            ..DeviceOptions::default()
        };
        match &self.adapter {
            None => Ok(Device::open(&options)?),
            Some(adapter) => Device::open(&options).with_context(|| format!("--adapter {adapter}")),
        }
    }
}

fn precision_parser() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::NAMES).try_map(|name| name.parse::<Precision>())
}

/// Reads where matrix units may be used.
pub fn matrix_units_parser() -> impl TypedValueParser<Value = MatrixUnits> {
    PossibleValuesParser::new(MatrixUnits::NAMES).try_map(|name| name.parse::<MatrixUnits>())
}

/// This command's folder among the user's caches.
pub fn user_cache_folder() -> Option<PathBuf> {
    cache_folder(|name| env::var_os(name), env::home_dir())
}

/// Where the platform wants what programs can make again, by the environment's variables and the user's
/// folder.
fn cache_folder(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    // Relative paths are to be ignored, says the XDG specification; an empty one is such.
    let set = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let in_home = |folders: &str| home.as_ref().map(|home| home.join(folders));
    let caches = set("XDG_CACHE_HOME").or_else(|| {
        if cfg!(windows) {
            set("LOCALAPPDATA")
        } else {
            in_home(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" })
        }
    })?;
    Some(caches.join("clipseg"))
}

/// How photos are read.
#[derive(Args)]
pub struct PhotoArguments {
    /// Take the photo's pixels as stored, as transformers does, instead of turning it upright by its EXIF
    /// orientation. TIFFs are always turned: Pillow hands them to transformers that way. What XMP says of the
    /// orientation is not read.
    #[arg(long)]
    pub ignore_exif: bool,
}

impl PhotoArguments {
    /// Decodes a photo; [`warn_of_cut_off`] is for the caller to call.
    pub fn open(&self, path: &Path) -> Result<PhotoFile> {
        Ok(PhotoFile::open(path, self.orientation())?)
    }

    /// How photos and their masks are turned.
    pub fn orientation(&self) -> Orientation {
        if self.ignore_exif { Orientation::Ignore } else { Orientation::Apply }
    }
}

/// Warns of a photo that comes out otherwise than its owner may think.
pub fn warn_of_cut_off(path: &Path, photo: &PhotoFile) {
    if photo.is_clipped {
        report::warning(format_args!(
            "{}: holds values of more than 8 bits, and some are lost, as with transformers: grey is cut off at 0 and 255, \
             of colours the upper 8 bits are kept; save it with 8 bits to have it scaled",
            path.display()
        ));
    }
}

/// A text without the byte-order mark that some editors put in front.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The small files of a checkpoint, all that is needed to find bad input before its weights are downloaded
/// and read.
pub struct Preparation<'a> {
    model: &'a Model,
    /// What makes pixels of photos.
    pub processor: Processor,
    /// What makes ids of words, cut to the model's positions.
    pub tokenizer: Tokenizer,
}

impl<'a> Preparation<'a> {
    /// Reads and checks everything in the folder but the weights.
    pub fn read(model: &'a Model) -> Result<Self> {
        // First: an adapter, say, has no config.json either, and should be called what it is.
        model.check_weights()?;
        let config_file = model.folder().join("config.json");
        // What checks the values alone does not know the file.
        let in_config = |error: Error| error.in_file(&config_file);
        let (config, processor, tokenizer) = model.read(|folder| {
            let config = ClipSegConfig::from_file(folder)?;
            config.validate().map_err(in_config)?;
            let processor = Processor::from_dir(folder)?;
            let mut tokenizer = Tokenizer::from_dir(folder)?;
            let positions = config.text_config.max_position_embeddings;
            tokenizer.limit_length(positions).map_err(in_config)?;
            Ok((config, processor, tokenizer))
        })?;
        // Whether the parts belong together is asked of a folder that has them all.
        model.read(|_| tokenizer.check_added_tokens(config.text_config.vocab_size).map_err(in_config))?;
        if config.conditional_step().is_none() {
            report::warning(format_args!(
                "{}: conditional_layer = {}, which is not a step of the decoder: as in transformers, prompts have no effect \
                 and all masks are the same",
                config_file.display(),
                config.conditional_layer
            ));
        }
        Ok(Self { model, processor, tokenizer })
    }

    /// Reads the weights onto the device; they are in the folder by now.
    pub fn load(self, device: &Device) -> Result<ClipSeg> {
        let load = |folder: &Path| ClipSegForImageSegmentation::from_pretrained(device, folder);
        let model = self.model.read(load)?;
        Ok(ClipSeg::from_parts(model, self.processor, self.tokenizer)?)
    }
}

/// Encodes texts, each prompt in `phrases` of them, and warns of those that are cut.
pub fn encode(tokenizer: &Tokenizer, texts: &[String], phrases: usize) -> Result<TextBatch> {
    let batch = tokenizer.encode_batch(texts)?;
    for &index in &batch.truncated {
        report::warning(format_args!(
            "prompt {} of {} is longer than {} tokens and was cut: {:?}",
            index / phrases + 1,
            texts.len() / phrases,
            tokenizer.max_length(),
            shown(&texts[index])
        ));
    }
    Ok(batch)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn the_cache_folder_is_the_environments_or_the_users() {
        let folder = |value: Option<&str>, home: Option<&str>| {
            let variable = |name: &str| value.filter(|_| name == "XDG_CACHE_HOME").map(OsString::from);
            cache_folder(variable, home.map(PathBuf::from))
        };
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!(folder(Some("/caches"), Some("/home/me")), path("/caches/clipseg"));
        for ignored in [None, Some(""), Some("relative")] {
            assert_eq!(folder(ignored, Some("/home/me")), path("/home/me/.cache/clipseg"));
        }
        assert_eq!(folder(None, None), None);
    }
}
