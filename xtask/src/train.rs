//! `cargo xtask train`: trains `fixtures/models/clipseg-shapes` anew and scores it, with Python and
//! transformers.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::reference::{Python, REFERENCE};
use crate::root;

/// What `cargo xtask train` takes.
#[derive(Args, Debug)]
pub struct TrainArguments {
    #[command(flatten)]
    python: Python,
    /// Where the checkpoint goes; a run that was stopped goes on from what is there
    #[arg(long, value_name = "DIR", default_value_os_t = root().join("target/clipseg-shapes"))]
    out: PathBuf,
    /// Threads; a second one brings little, as the model is small
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Trains for one to two hours, then scores for a few minutes.
pub fn run(arguments: &TrainArguments) -> Result<()> {
    let python = arguments.python.ready(REFERENCE)?;
    let script = |name: &str| root().join("tools/training").join(name);
    let (out, threads) = (arguments.out.as_os_str(), arguments.threads.to_string());
    let train = script("train_shapes.py");
    python.execute([train.as_os_str(), "--out".as_ref(), out, "--threads".as_ref(), threads.as_ref()])?;
    let scores = arguments.out.join("scores.json");
    let score = script("score_shapes.py");
    python.execute([score.as_os_str(), "--model".as_ref(), out, "--out".as_ref(), scores.as_os_str()])?;
    println!(
        "the checkpoint is in {}. To keep it, copy all but training.pt to fixtures/models/clipseg-shapes and run \
         `cargo xtask reference`, which writes the masks that the tests expect of it",
        arguments.out.display()
    );
    Ok(())
}
