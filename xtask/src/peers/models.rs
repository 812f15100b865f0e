//! A photo and prompts through the whole model, engine after engine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::table::{Column, Table};
use super::{Session, driver};
use crate::cli::{Bench, clipseg, json_of, median};
use crate::root;

/// The most that an engine's logits may differ from ours, relative to the largest: other engines round
/// differently, and in another order.
const TOLERANCE: f64 = 1e-3;

/// The other engines, by their names in `peers.py`.
const ENGINES: [&str; 3] = ["torch", "onnx-cpu", WEBGPU];
/// The one that may be left out.
const WEBGPU: &str = "onnx-webgpu";

/// What an engine prints of its turn.
#[derive(Deserialize)]
struct Turn {
    version: String,
    seconds: Vec<f64>,
    /// The largest difference from our logits, relative to the largest logit.
    difference: f64,
}

/// The checkpoint and the photo that all engines take.
pub struct Work<'a> {
    pub model: &'a Path,
    pub photo: PathBuf,
    pub prompts: Vec<u16>,
    /// The most seconds of a run: an engine is not run on so many prompts that a run would take longer.
    pub longest: f64,
}

/// Every engine in turn, in every round and with every number of prompts.
pub fn measure(session: &Session, work: &mut Work) -> Result<Table> {
    // Fewer first: their time tells what more would take.
    work.prompts.sort_unstable();
    work.prompts.dedup();
    let heading = |count: &u16| format!("{count} prompt{}", if *count == 1 { "" } else { "s" });
    let column = |count| Column { heading: heading(count), flops: None };
    let mut table = Table::new(work.prompts.iter().map(column).collect());
    let mut engines = ENGINES.map(Engine::new);
    for round in 1..=session.rounds {
        for (column, &prompts) in work.prompts.iter().enumerate() {
            println!("round {round} of {}, prompts: {prompts}", session.rounds);
            let on_processor = session.ours(work, prompts, "cpu")?;
            let bench = session.ours(work, prompts, "driver")?;
            for bench in [&on_processor, &bench] {
                let seconds = bench.warm_seconds()?;
                println!("  clipseg on {}: {seconds:.3} s", bench.adapter);
                table.add(&format!("clipseg on {}", bench.adapter), column, seconds);
            }
            for engine in engines.iter_mut().filter(|engine| !engine.is_out) {
                if let Some(expected) = engine.too_long(prompts, work.longest) {
                    println!("  {}: not run, some {expected:.0} s", engine.name);
                    table.not_run(&engine.row, column, expected);
                    continue;
                }
                match engine.turn(session, work, &bench) {
                    Ok(seconds) => table.add(&engine.row, column, seconds),
                    // Only an engine that never worked is left out.
                    Err(error) if engine.name == WEBGPU && engine.first_round.is_empty() => {
                        println!("  {}: left out: {error:#}", engine.name);
                        table.note(&format!("ONNX Runtime's WebGPU is left out: {error:#}."));
                        engine.is_out = true;
                    }
                    Err(error) => return Err(error.context(format!("{} failed", engine.name))),
                }
            }
        }
    }
    if engines.iter().any(|engine| engine.driver.is_some()) {
        table.note(
            "ONNX Runtime's WebGPU refuses lavapipe for two features that it lacks and the graph does not use. Here it was told \
             that they are there (`tools/peers/lavapipe_for_dawn.c`).",
        );
    }
    Ok(table)
}

struct Engine {
    name: &'static str,
    /// Its name in the table, once it has had a turn.
    row: String,
    is_out: bool,
    /// The manifest of a Vulkan driver, where the engine needs a special one.
    driver: Option<PathBuf>,
    /// For each turn of the first round, the number of prompts and the seconds.
    first_round: Vec<(u16, f64)>,
}

impl Engine {
    fn new(name: &'static str) -> Self {
        Self { name, row: String::new(), is_out: false, driver: None, first_round: Vec::new() }
    }

    /// The seconds that a run would take, if these are more than `longest`. The first round decides for all
    /// rounds, so that no median is of fewer rounds than another.
    fn too_long(&self, prompts: u16, longest: f64) -> Option<f64> {
        if self.first_round.iter().any(|(count, _)| *count == prompts) {
            return None;
        }
        let (count, seconds) = self.first_round.last()?;
        // These engines encode the photo once for every prompt, so the time is in proportion to the prompts.
        let expected = seconds * f64::from(prompts) / f64::from(*count);
        (expected > longest).then_some(expected)
    }

    /// Runs the engine's turn, and gives its seconds.
    fn turn(&mut self, session: &Session, work: &Work, bench: &Bench) -> Result<f64> {
        if self.name == WEBGPU && self.driver.is_none() && driver::is_needed(&bench.adapter) {
            self.driver = Some(driver::build(&session.folder)?);
        }
        let turn = session.theirs(work, self.name, &bench.texts, self.driver.as_deref())?;
        ensure!(
            turn.difference <= TOLERANCE,
            "its logits differ from ours by {:.1e} of the largest: nothing is comparable",
            turn.difference
        );
        let seconds = median(turn.seconds);
        println!("  {}: {seconds:.3} s, logits within {:.1e}", self.name, turn.difference);
        self.row = format!("{}, {}", turn.version, self.name.strip_prefix("onnx-").unwrap_or("cpu"));
        let prompts = u16::try_from(bench.texts.len()).context("more prompts than were asked for")?;
        if self.first_round.iter().all(|(count, _)| *count != prompts) {
            self.first_round.push((prompts, seconds));
        }
        Ok(seconds)
    }
}

impl Session {
    /// Our own turn on an adapter, and our logits for the others to be compared with.
    fn ours(&self, work: &Work, prompts: u16, adapter: &str) -> Result<Bench> {
        let mut command = clipseg(root());
        command.arg("bench").arg("--model").arg(work.model).arg("--image").arg(&work.photo).args([
            "--prompts",
            &prompts.to_string(),
            "--runs",
            &self.runs.to_string(),
            "--adapter",
            adapter,
            "--json",
        ]);
        let bench: Bench = json_of(&mut command)?;
        let mut command = clipseg(root());
        command.arg("segment").arg("--model").arg(work.model).arg(&work.photo);
        command.arg("--logits").arg(self.logits()).args(["--adapter", adapter, "--json"]);
        command.args(bench.texts.iter().flat_map(|text| ["-p", text]));
        json_of::<serde_json::Value>(&mut command)?;
        Ok(bench)
    }

    fn theirs(&self, work: &Work, engine: &str, prompts: &[String], driver: Option<&Path>) -> Result<Turn> {
        let mut command = self.python.command();
        command.arg(root().join("tools/peers/peers.py")).arg(engine);
        command.arg("--model").arg(work.model).arg("--photo").arg(&work.photo);
        command.arg("--logits").arg(self.logits()).arg("--graph").arg(self.folder.join("graph.onnx"));
        command.args(["--runs", &self.runs.to_string(), "--threads", &self.threads().to_string()]);
        command.args(prompts.iter().flat_map(|text| ["--prompt", text]));
        if let Some(driver) = driver {
            // The name that all versions of the loader know.
            command.env("VK_ICD_FILENAMES", driver);
        }
        json_of(&mut command)
    }

    fn logits(&self) -> PathBuf {
        self.folder.join("logits.safetensors")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_decides_what_is_too_long() {
        let mut engine = Engine::new("torch");
        assert_eq!(engine.too_long(32, 60.0), None, "nothing is known yet");
        engine.first_round.push((1, 14.0));
        assert_eq!(engine.too_long(4, 60.0), None);
        assert_eq!(engine.too_long(8, 60.0), Some(112.0));
        engine.first_round.push((8, 50.0));
        assert_eq!(engine.too_long(8, 40.0), None, "what was run once is run in every round");
        assert_eq!(engine.too_long(32, 60.0), Some(200.0), "by the last that was run");
    }
}
