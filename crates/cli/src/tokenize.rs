//! `clipseg tokenize`.

use anyhow::Result;
use clap::Args;
use clipseg::Tokenizer;

use crate::inputs;
use crate::model::ModelArguments;
use crate::output;

/// Print the token ids of texts, one line per text.
///
/// Start and end token included; texts beyond the tokenizer's longest (77 tokens) are cut with a warning. The
/// folder needs no more than the tokenizer's files.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Texts.
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  clipseg tokenize --model clipseg-rd64-refined \"a photo of a cat\"
  clipseg tokenize --model clipseg-rd64-refined \"a cat\" \"a remote\"";

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let tokenizer = arguments.model.open()?.read(Tokenizer::from_dir)?;
    let batch = inputs::encode(&tokenizer, &arguments.texts, 1)?;
    let rows = batch.input_ids.chunks(batch.length).zip(batch.attention_mask.chunks(batch.length));
    let line = |(ids, mask): (&[u32], &[u32])| {
        let tokens = ids.iter().zip(mask).filter(|&(_, &mask)| mask == 1);
        tokens.map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(" ") + "\n"
    };
    output::print(&rows.map(line).collect::<String>())
}
