//! `cargo xtask peers`: other engines on the same work and machine, in turn, and the tables in
//! `benches/RESULTS.md`.

mod driver;
mod models;
mod products;
mod table;

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cargo;
use crate::reference::{PEERS, Python, Ready};
use crate::results;
use crate::root;
use crate::synth;

/// What `cargo xtask peers` takes.
#[derive(Args, Debug)]
pub struct PeersArguments {
    #[command(flatten)]
    python: Python,
    /// The checkpoint [default: one of the published size, made up in target/full]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// How many prompts on the one photo, with commas between
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32])]
    prompts: Vec<u16>,
    /// How often every engine has its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Warm runs of a turn, of which the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Leave out what would take an engine longer for one run, going by its time with fewer prompts
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    longest: f64,
    /// Where the tables go
    #[arg(long, value_name = "FILE", default_value_os_t = results::path())]
    out: PathBuf,
}

/// What all turns share.
struct Session {
    python: Ready,
    rounds: usize,
    /// Warm runs in a turn.
    runs: usize,
    /// The folder for the files that pass between the engines.
    folder: PathBuf,
}

impl Session {
    /// The number of threads for engines that take one.
    fn threads(&self) -> usize {
        available_parallelism().map_or(1, usize::from)
    }
}

/// Runs every engine in turn and writes the tables.
pub fn run(arguments: &PeersArguments) -> Result<()> {
    ensure!(arguments.rounds > 0 && arguments.runs > 0, "--rounds and --runs must be at least 1");
    let python = arguments.python.ready(PEERS)?;
    let model = synth::given_or_full_size(arguments.model.as_deref())?;
    // All that is built is built before anything is timed.
    cargo::build_cli()?;
    let engines = products::Engines::build()?;
    let folder = root().join("target/peers");
    // A graph of another checkpoint may be there.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&folder)?,
    }
    let (rounds, runs) = (arguments.rounds, arguments.runs);
    let session = Session { python, rounds, runs, folder };
    let mut work = models::Work {
        model: &model,
        photo: root().join("fixtures/photos/coffee.jpg"),
        prompts: arguments.prompts.clone(),
        longest: arguments.longest,
    };
    let products = products::measure(&session, &engines)?;
    let models = models::measure(&session, &mut work)?;
    let text = format!(
        "# Beside other engines\n\nWritten by `cargo xtask peers`: every engine in turn on the same machine. Medians of {rounds} \
         rounds, of {runs} warm runs each, in brackets the fastest and the slowest round. Machine: {}.\n\n## The whole \
         model\n\nThe same photo, prompts and checkpoint of the published size; the logits agree within 0.001 of the largest. \
         Preprocessing and tokenizing are in the time.\n\n{}\n## Products of matrices\n\n{}{}",
        results::machine(),
        models.to_markdown(),
        products::ABOUT,
        products.to_markdown(),
    );
    results::write_section(&arguments.out, "peers", &text)?;
    println!("\n{text}\nwrote {}", arguments.out.display());
    Ok(())
}
