//! The window as a running program, and what it reports.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::TARGET;
use super::screen::Screen;
use crate::root;

/// A line that the window prints: what is shown.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    pub photo: PathBuf,
    pub words: String,
    pub threshold: f64,
    /// Left, top, width and height in pixels, of the picture and of the threshold's slider.
    pub picture: [f64; 4],
    pub slider: [f64; 4],
    pub milliseconds: Milliseconds,
    /// By what the engine did meanwhile.
    pub frames: BTreeMap<String, Frames>,
}

/// How long what took.
#[derive(Clone, Debug, Deserialize)]
pub struct Milliseconds {
    pub loading: Option<f64>,
    pub encoding: Option<f64>,
    pub finding: Option<f64>,
}

/// How long frames took, in milliseconds.
#[derive(Clone, Debug, Deserialize)]
pub struct Frames {
    pub count: usize,
    pub median: f64,
    pub longest: f64,
}

/// The window that was built.
pub fn command() -> Command {
    let name = format!("clipseg-window{}", std::env::consts::EXE_SUFFIX);
    Command::new(root().join(TARGET).join("debug").join(name))
}

/// A running window; it ends when this is dropped.
pub struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Program {
    pub fn start(screen: &Screen, arguments: &[&OsStr]) -> Result<Self> {
        // llvmpipe keeps its own width: of 512 bits, which is faster for kernels alone, it crashes when it
        // draws.
        let mut child = command()
            .arg("--report")
            .args(arguments)
            .env("DISPLAY", screen.display())
            .env_remove("WAYLAND_DISPLAY")
            .stdout(Stdio::piped())
            .spawn()
            .context("the window does not start")?;
        let output = BufReader::new(child.stdout.take().context("it has an output")?);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, lines })
    }

    /// The first report from now on that is as it should be.
    pub fn wait_for(&mut self, longest: Duration, is_right: impl Fn(&Report) -> bool) -> Result<Report> {
        let begin = Instant::now();
        let mut last = None;
        loop {
            let left = longest.saturating_sub(begin.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let report: Report =
                        serde_json::from_str(&line).with_context(|| format!("it reports {line}"))?;
                    if is_right(&report) {
                        return Ok(report);
                    }
                    last = Some(report);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    bail!("the window has ended: {}", self.child.wait()?);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(anyhow!("after {longest:?} the window shows {last:?}"));
                }
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
