//! `cargo xtask`: the demo, and the way to all other tasks, which are in the package `xtask-engine`. This one
//! has no dependencies, so that the first picture on a fresh clone waits for nothing that it does not need.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Instant;

/// What the demo looks for in the committed scenes.
const DEMO: [(&str, [&str; 4]); 2] = [
    ("scene-1", ["something orange", "a dotted triangle", "something striped", "a yellow square"]),
    ("scene-2", ["a yellow thing", "the yellow cross", "a crescent", "a purple triangle"]),
];

/// The command as the demo builds it, without what it does not need.
const COMMAND: [&str; 5] = ["--profile", "quick", "--package", "clipseg-cli", "--no-default-features"];

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let done = if arguments == ["demo"] { demo() } else { task(&arguments) };
    match done {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        // What went wrong has been said already.
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: cannot run cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Any other task.
fn task(arguments: &[OsString]) -> io::Result<ExitStatus> {
    // In the folder that it was called from, which paths among the arguments start in.
    let manifest = root().join("Cargo.toml");
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "xtask-engine", "--manifest-path"]).arg(manifest).arg("--");
    command.args(arguments).status()
}

/// Segments two committed scenes with the committed model, through the command that users run. Where there is
/// no GPU it runs on the processor.
fn demo() -> io::Result<ExitStatus> {
    let start = Instant::now();
    println!("building the command: some minutes on a fresh clone");
    let built = cargo().current_dir(root()).arg("build").args(COMMAND).status()?;
    if !built.success() {
        return Ok(built);
    }
    println!("built after {:.0} s", start.elapsed().as_secs_f64());
    let out = root().join("target/demo");
    let mut status = built;
    for (scene, prompts) in DEMO {
        let mut segment = cargo();
        segment.current_dir(root()).args(["run", "--quiet"]).args(COMMAND);
        segment.args(["--", "segment", "--model", "fixtures/models/clipseg-shapes"]);
        segment.arg(format!("fixtures/shapes/{scene}.png"));
        for prompt in prompts {
            segment.args(["--prompt", prompt]);
        }
        println!("\n{scene}");
        status = segment.arg("--out").arg(&out).status()?;
        if !status.success() {
            return Ok(status);
        }
    }
    println!("\nthe pictures are in {}: look at the overlays", out.display());
    println!("{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(status)
}

/// The cargo that runs this task, so that a toolchain chosen with `+` stays chosen.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The repository's root.
fn root() -> &'static Path {
    let front = Path::new(env!("CARGO_MANIFEST_DIR"));
    front.parent().and_then(Path::parent).unwrap_or(front)
}
