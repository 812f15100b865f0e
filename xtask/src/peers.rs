//! `cargo xtask peers`: other engines on the same work and machine, in turn, and the table in `benches/RESULTS.md`.

mod table;

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use self::table::Results;
use crate::cli::{Bench, clipseg, json_of, median};
use crate::reference::{PEERS, Python, Ready};
use crate::root;
use crate::steps;
use crate::synth;

/// The most that an engine's logits may differ from ours, of the largest: the others round differently, and in another order.
const TOLERANCE: f64 = 1e-3;

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
    /// The Vulkan driver file for ONNX Runtime's WebGPU provider, where it refuses the usual one
    #[arg(long, value_name = "FILE.json")]
    webgpu_driver: Option<PathBuf>,
    /// Where the table goes
    #[arg(long, value_name = "FILE", default_value_os_t = root().join("benches/RESULTS.md"))]
    out: PathBuf,
}

/// What a turn gave.
#[derive(Deserialize)]
struct Turn {
    version: String,
    seconds: Vec<f64>,
    /// From our logits, of the largest.
    difference: f64,
}

/// The other engines, by their names in `peers.py`.
const ENGINES: [&str; 3] = ["torch", "onnx-cpu", "onnx-webgpu"];

/// Runs every engine in turn and writes the table.
pub fn run(arguments: &PeersArguments) -> Result<()> {
    ensure!(arguments.rounds > 0 && arguments.runs > 0, "--rounds and --runs must be at least 1");
    let python = arguments.python.ready(PEERS)?;
    let model = synth::given_or_full_size(arguments.model.as_deref())?;
    steps::build_cli()?;
    let folder = root().join("target/peers");
    // The graph of another checkpoint may lie there.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&folder)?,
    }
    let session =
        Session { arguments, python, model, photo: root().join("fixtures/photos/coffee.jpg"), folder };
    let mut results = Results::default();
    let mut refused: Vec<&str> = Vec::new();
    for round in 1..=arguments.rounds {
        for &prompts in &arguments.prompts {
            println!("round {round} of {}, prompts: {prompts}", arguments.rounds);
            let bench = session.ours(prompts)?;
            let all = bench.warm.iter().find(|step| step.name == "all together");
            let seconds = all.context("clipseg bench names no step \"all together\"")?.median_seconds;
            println!("  clipseg: {seconds:.3} s");
            results.add(&format!("clipseg on {}", bench.adapter), prompts, seconds);
            for engine in ENGINES {
                if refused.contains(&engine) {
                    continue;
                }
                let turn = match session.other(engine, &bench.texts) {
                    Ok(turn) => turn,
                    // Only one that never worked is left out.
                    Err(error) if round == 1 && engine == "onnx-webgpu" => {
                        println!("  {engine}: left out: {error:#}");
                        results.leave_out("ONNX Runtime, WebGPU", &format!("{error:#}"));
                        refused.push(engine);
                        continue;
                    }
                    Err(error) => return Err(error.context(format!("{engine} failed"))),
                };
                ensure!(
                    turn.difference <= TOLERANCE,
                    "{engine}'s logits differ from ours by {:.1e} of the largest: nothing is comparable",
                    turn.difference
                );
                let seconds = median(turn.seconds);
                println!("  {engine}: {seconds:.3} s, logits within {:.1e}", turn.difference);
                let device = engine.strip_prefix("onnx-").unwrap_or("cpu");
                results.add(&format!("{}, {device}", turn.version), prompts, seconds);
            }
        }
    }
    let text = results.to_markdown(arguments.rounds, arguments.runs);
    fs::write(&arguments.out, &text).with_context(|| format!("cannot write {}", arguments.out.display()))?;
    println!("\n{text}\nwrote {}", arguments.out.display());
    Ok(())
}

struct Session<'a> {
    arguments: &'a PeersArguments,
    python: Ready,
    model: PathBuf,
    photo: PathBuf,
    /// What passes between the engines.
    folder: PathBuf,
}

impl Session<'_> {
    /// Our own turn, and our logits for the others to be compared with.
    fn ours(&self, prompts: u16) -> Result<Bench> {
        let mut command = clipseg(root());
        command.arg("bench").arg("--model").arg(&self.model).arg("--image").arg(&self.photo).args([
            "--prompts",
            &prompts.to_string(),
            "--runs",
            &self.arguments.runs.to_string(),
            "--json",
        ]);
        let bench: Bench = json_of(&mut command)?;
        let mut command = clipseg(root());
        command.arg("segment").arg("--model").arg(&self.model).arg(&self.photo);
        command.arg("--logits").arg(self.logits()).arg("--json");
        command.args(bench.texts.iter().flat_map(|text| ["-p", text]));
        json_of::<serde_json::Value>(&mut command)?;
        Ok(bench)
    }

    fn other(&self, engine: &str, prompts: &[String]) -> Result<Turn> {
        let threads = available_parallelism().map_or(1, usize::from);
        let mut command = self.python.command();
        command.arg(root().join("xtask/python/peers.py")).arg(engine);
        command
            .arg("--model")
            .arg(&self.model)
            .arg("--photo")
            .arg(&self.photo)
            .arg("--logits")
            .arg(self.logits())
            .arg("--graph")
            .arg(self.folder.join("graph.onnx"));
        command.args(["--runs", &self.arguments.runs.to_string(), "--threads", &threads.to_string()]);
        command.args(prompts.iter().flat_map(|text| ["--prompt", text]));
        if let (Some(driver), "onnx-webgpu") = (&self.arguments.webgpu_driver, engine) {
            command.env("VK_ICD_FILENAMES", driver);
        }
        json_of(&mut command)
    }

    fn logits(&self) -> PathBuf {
        self.folder.join("logits.safetensors")
    }
}
