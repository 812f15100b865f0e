//! `clipseg convert`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use clipseg_convert::{Assumed, Request, WeightType};
use clipseg_files::{Form, shown};

use crate::model;
use crate::output;
use crate::progress::Progress;
use crate::report;
use crate::stop;

/// Turn a checkpoint, most often of PyTorch, into a folder that the other commands read.
///
/// SOURCE is a repository of the Hugging Face Hub (owner/name, owner/name@revision, its page's address) or a
/// folder of it with pytorch_model.bin (or its shards), or the original decoder (rd64-uni.pth,
/// rd64-uni-refined.pth, rd16-uni.pth), which needs OpenAI's ViT-B-16.pt as --clip. A model.safetensors needs
/// no conversion, but can be halved (--dtype f16) or freed of what training put into its names. Files are
/// read as data: programs in them are not run, and what is not a tensor is refused. What DataParallel,
/// torch.compile or FSDP put into tensors' names is taken out of them. Adapters, such as LoRA's, are not
/// applied: peft's merge_and_unload does that in Python, before the conversion.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder or file to convert, or a repository to download and convert.
    source: PathBuf,
    /// Folder to create: config.json, model.safetensors, preprocessor_config.json, the tokenizer's files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// OpenAI's CLIP, for an original decoder; github.com/openai/CLIP links to it in clip/clip.py.
    #[arg(long, value_name = "FILE")]
    clip: Option<PathBuf>,
    /// Folder with vocab.json and merges.txt, or tokenizer.json [default: that of SOURCE].
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// A config.json for what an original's tensors do not tell (heads, layers read, activations), if it is
    /// not as published; for a folder of the Hub, instead of its own.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How weights are stored; f16 takes half the room and keeps about three digits.
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    F16,
}

const EXAMPLES: &str = "\
Examples:
  clipseg convert clipseg-rd64 --out clipseg-rd64-safetensors
  clipseg convert CIDAS/clipseg-rd64 --out clipseg-rd64-f16 --dtype f16
  clipseg convert https://huggingface.co/CIDAS/clipseg-rd64 --out clipseg-rd64
  clipseg convert rd64-uni-refined.pth --clip ViT-B-16.pt --tokenizer clip-vit-base-patch16 --out clipseg-rd64-refined
  clipseg convert rd16-uni.pth --clip ViT-B-16.pt --dtype f16 --out clipseg-rd16";

/// The most tensors that are listed by name.
const LISTED: usize = 20;

/// What to do where an original decoder was trained otherwise than the published ones.
const OTHERWISE: &str = "\
a decoder trained with timojl/clipseg's experiments/*.yaml has extract_layers [3, 7, 9], and without the right ones its \
masks are wrong: give a config.json with all that is otherwise by --config, such as {\"extract_layers\": [3, 7, 9]}";

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let out = arguments.out.display();
    let source = download(&arguments.source)?;
    let progress = Progress::start();
    progress.step("reading");
    let request = Request {
        source: &source,
        out: &arguments.out,
        clip: arguments.clip.as_deref(),
        config: arguments.config.as_deref(),
        tokenizer: arguments.tokenizer.as_deref(),
        weights: match arguments.dtype {
            Dtype::F32 => WeightType::F32,
            Dtype::F16 => WeightType::F16,
        },
    };
    let written = clipseg_convert::convert(&request, &mut |done, all| {
        let (done, all) = (done / 1_000_000, all / 1_000_000);
        stop::count(done, all, "MB");
        progress.step(format!("{done} of {all} MB written"));
    })?;
    drop(progress);

    let megabytes = written.bytes as f64 / 1e6;
    let mut text = format!("{} tensors, {megabytes:.1} MB\n", written.tensors);
    for file in &written.files {
        text += &format!("wrote {}\n", file.display());
    }
    if !written.wrappers.is_empty() {
        let wrappers: Vec<_> = written.wrappers.iter().map(|wrapper| format!("{wrapper}.")).collect();
        text +=
            &format!("taken out of the tensors' names, where training had put it: {}\n", wrappers.join(", "));
    }
    if !written.left_out.is_empty() {
        let mut names: Vec<_> = written.left_out.iter().take(LISTED).map(|name| shown(name)).collect();
        let others = written.left_out.len() - names.len();
        if others > 0 {
            names.push(format!("and {others} others"));
        }
        text += &format!("left out, as the model has no such tensors: {}\n", names.join(", "));
    }
    if !written.assumed.is_empty() {
        let assumed =
            written.assumed.iter().map(|Assumed { setting, value, .. }| format!("{setting} {value}"));
        let assumed = assumed.collect::<Vec<_>>().join(", ");
        text += &format!("taken as published, since tensors do not tell: {assumed}\n{OTHERWISE}\n");
    }
    output::print(&text)?;
    if !written.has_preprocessor {
        report::warning(format!(
            "there was no preprocessor_config.json beside the weights: {out} has the published one, 352 × 352 pixels and \
             ImageNet's mean; replace it if the model was trained otherwise"
        ));
    }
    if !written.has_tokenizer {
        report::warning(format!(
            "{out} has no tokenizer, so prompts cannot be words yet: copy vocab.json and merges.txt of \
             openai/clip-vit-base-patch16 (Hugging Face Hub) into it; --tokenizer DIR does that"
        ));
    }
    Ok(())
}

/// The folder or file to convert. A repository is downloaded, and its folder in the cache is converted.
fn download(source: &Path) -> Result<PathBuf> {
    if source.exists() {
        return Ok(source.to_owned());
    }
    let Some(repository) = model::repository(source)? else { return Ok(source.to_owned()) };
    let snapshot = model::snapshot(&repository, &model::shown(source))?;
    // Where there is neither, the message is about PyTorch's.
    let has = |form| snapshot.check_weights(form).is_ok();
    let form = if !has(Form::PyTorch) && has(Form::Safetensors) { Form::Safetensors } else { Form::PyTorch };
    model::download_weights(&snapshot, form)?;
    Ok(snapshot.folder().to_owned())
}
