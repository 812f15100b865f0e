//! `clipseg`: segments photos by text from the command line.

mod bench;
mod convert;
mod devices;
mod eval;
mod inputs;
mod model;
mod names;
mod npy;
mod output;
mod pictures;
mod preprocess;
mod progress;
mod prompts;
mod report;
mod resolution;
mod segment;
mod table;
mod tokenize;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

/// Segments photos by text with CLIPSeg, on any GPU.
///
/// A checkpoint is a folder as the Hugging Face Hub serves it: config.json, model.safetensors (or its
/// shards), preprocessor_config.json, and tokenizer.json or vocab.json with merges.txt. Where there is
/// no such folder, --model owner/name is downloaded from the Hub into the cache that Python uses too,
/// and found there the next time. The environment's HF_HOME or HF_HUB_CACHE moves that cache, HF_TOKEN
/// opens private and gated repositories, HF_ENDPOINT names a mirror, and HF_HUB_OFFLINE=1 uses nothing
/// but the cache.
#[derive(Parser)]
#[command(name = "clipseg", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  clipseg segment --model clipseg-rd64-refined photo.jpg -p \"a cat\" -p \"a remote\" --out masks
  clipseg segment --model CIDAS/clipseg-rd64-refined photo.jpg -p \"a cat\" --out masks
  clipseg devices
  clipseg segment --help";

#[derive(Subcommand)]
enum Command {
    Segment(segment::Arguments),
    Tokenize(tokenize::Arguments),
    Preprocess(preprocess::Arguments),
    Devices(devices::Arguments),
    Eval(eval::Arguments),
    Bench(bench::Arguments),
    Convert(convert::Arguments),
}

fn main() -> ExitCode {
    let start = Instant::now();
    silence_device_selection();
    let result = match Cli::parse().command {
        Command::Segment(arguments) => segment::run(&arguments),
        Command::Tokenize(arguments) => tokenize::run(&arguments),
        Command::Preprocess(arguments) => preprocess::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments, start),
        Command::Convert(arguments) => convert::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Mesa's layer that picks a default adapter asks a Wayland compositor which one it uses. Where there is none
/// (over SSH, in a container), libwayland complains on stderr that XDG_RUNTIME_DIR is not set. The layer has
/// nothing to add here, as adapters are chosen by kind or by `--adapter`; it stays on for those who steer it
/// by its own variable.
fn silence_device_selection() {
    let is_set = |name| std::env::var_os(name).is_some();
    if cfg!(target_os = "linux") && !is_set("XDG_RUNTIME_DIR") && !is_set("MESA_VK_DEVICE_SELECT") {
        // SAFETY: this is the first thing that `main` does; no other thread exists that could read the
        // environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
