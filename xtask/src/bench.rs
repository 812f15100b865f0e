//! `cargo xtask bench`: how cost grows with the work, or this tree beside another version.

mod growth;
mod versions;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use crate::{cargo, synth};

/// What `cargo xtask bench` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask bench                      time and memory against prompts, size, threads and batch
  cargo xtask bench --compare HEAD~1     this tree and the commit before it, in turn
  cargo xtask bench --compare main --rounds 9 --prompts 8")]
pub struct BenchArguments {
    /// The checkpoint [default: one of the published size, made up in target/full]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Measure this tree and that commit, branch or tag in turn, and compare; fails where a step is slower by
    /// more than 10 % in every round
    #[arg(long, value_name = "REV")]
    compare: Option<String>,
    /// How often each of the two has its turn
    #[arg(long, default_value_t = 5, requires = "compare")]
    rounds: usize,
    /// Prompts on the one photo of a comparison
    #[arg(long, default_value_t = 1, requires = "compare")]
    prompts: u16,
    /// Warm runs of every measurement, of which the median counts
    #[arg(long, default_value_t = 3)]
    runs: u16,
}

/// Measures and prints tables.
pub fn run(arguments: &BenchArguments) -> Result<()> {
    ensure!(arguments.rounds > 0 && arguments.runs > 0, "--rounds and --runs must be at least 1");
    // What does not exist is found before anything is built.
    let other = arguments.compare.as_deref().map(versions::commit).transpose()?;
    let model = synth::given_or_full_size(arguments.model.as_deref())?;
    cargo::build_cli()?;
    match other {
        Some(commit) => versions::compare(&commit, &model, arguments),
        None => growth::print(&model, arguments.runs),
    }
}
