//! `clipseg encode-prompts`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use clipseg::SavedConditions;

use crate::inputs::{AdapterArguments, PhotoArguments, Preparation};
use crate::model::ModelArguments;
use crate::output::{self, Inputs};
use crate::prompts::PromptArguments;

/// Encode prompts once and keep them as a file, for `clipseg segment --conditions`.
///
/// The file holds what the model makes of each prompt, some 2 KB, with the prompts' names and classes. It
/// serves the model that made it and others with the same text and vision towers, as the published rd64 and
/// rd16.
#[derive(Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("wanted")
    .args(["prompt", "prompt_image"]).required(true).multiple(true))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The file to write.
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    #[command(flatten)]
    adapter: AdapterArguments,
    #[command(flatten)]
    reading: PhotoArguments,
    // Last: arguments behind it would stand under its heading in the help.
    #[command(flatten)]
    prompts: PromptArguments,
}

const EXAMPLES: &str = "\
Examples:
  clipseg encode-prompts --model clipseg-rd64-refined -p \"a cat\" -p \"a dog\" --out pets.safetensors
  clipseg encode-prompts --model clipseg-rd64-refined -p tabby=cat -p persian=cat --template-set shuffle+ --out pets.safetensors
  clipseg segment --model clipseg-rd64-refined holiday/ --conditions pets.safetensors --out masks";

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let model = arguments.model.open()?;
    let preparation = Preparation::read(&model)?;
    let prompts = arguments.prompts.read(&preparation, &arguments.reading, &[])?;
    let inputs = Inputs::new(model.folder(), arguments.prompts.files());
    let file = output::File::prepare(&arguments.out, "--out", &inputs)?;
    let device = arguments.adapter.open()?;
    model.download_weights()?;
    let model = preparation.load(&device)?;
    let condition = prompts.encode(&model)?;
    let (count, width) = (condition.len(), condition.embeddings.shape[1]);
    let model = model.model();
    let cut: Option<Vec<_>> = (0..count).map(|prompt| prompts.is_cut(prompt)).collect();
    let mut saved =
        SavedConditions::new(model, condition, prompts.labels, prompts.classes).context("--prompt")?;
    if let Some(cut) = cut {
        saved = saved.with_cut(cut)?;
    }
    file.write(&saved.to_bytes()?)?;
    let of = if count == 1 { "prompt" } else { "prompts" };
    output::print(&format!(
        "wrote {}: {count} {of}, {width} numbers each, of model {}\n",
        file.path().display(),
        model.fingerprint()
    ))
}
