//! `clipseg`: segments photos by text from the command line. The program is [`run`] alone; it is a library so
//! that the fuzz targets reach what reads files.

mod bench;
mod bytes;
mod convert;
mod devices;
mod drivers;
mod encode_prompts;
mod eval;
#[doc(hidden)]
pub mod fuzzing;
mod inputs;
mod kernels;
mod mask_file;
mod model;
mod names;
mod noise;
mod npy;
mod output;
mod paths;
mod pictures;
mod preprocess;
mod progress;
mod prompts;
mod report;
mod resolution;
mod segment;
mod stop;
mod table;
mod tokenize;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

/// Segments photos by text with CLIPSeg, on any GPU or on the processor.
///
/// A checkpoint is a folder as the Hugging Face Hub serves it: config.json, model.safetensors (or its
/// shards), preprocessor_config.json (or processor_config.json, as transformers 5 saves it), and
/// tokenizer.json or vocab.json with merges.txt. Where there is no such folder, --model owner/name, or the
/// address of the repository's page, is downloaded from the Hub into the cache that Python uses too, and
/// found there the next time. The environment's HF_HOME or HF_HUB_CACHE moves that cache, HF_TOKEN
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
  clipseg segment --model https://huggingface.co/CIDAS/clipseg-rd64-refined photo.jpg -p \"a cat\" --out masks
  clipseg devices
  clipseg segment --help";

#[derive(Subcommand)]
enum Command {
    Segment(Box<segment::Arguments>),
    EncodePrompts(encode_prompts::Arguments),
    Tokenize(tokenize::Arguments),
    Preprocess(preprocess::Arguments),
    Devices(devices::Arguments),
    Eval(eval::Arguments),
    Bench(bench::Arguments),
    Kernels(kernels::Arguments),
    Convert(convert::Arguments),
}

/// Runs the command that the program's arguments name, to its end.
///
/// # Safety
/// No other thread may run: variables of the environment are set.
pub unsafe fn run() -> ExitCode {
    let start = Instant::now();
    // SAFETY: the caller's promise.
    let prepared = unsafe { drivers::prepare() };
    let command = Cli::parse().command;
    report::show_warnings();
    let result = prepared.and_then(|()| stop::on_signals()).and_then(|()| match command {
        Command::Segment(arguments) => segment::run(&arguments),
        Command::EncodePrompts(arguments) => encode_prompts::run(&arguments),
        Command::Tokenize(arguments) => tokenize::run(&arguments),
        Command::Preprocess(arguments) => preprocess::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments, start),
        Command::Kernels(arguments) => kernels::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error);
            ExitCode::FAILURE
        }
    }
}
