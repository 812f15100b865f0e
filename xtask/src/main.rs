//! The project's own tasks. `cargo xtask --help` lists them; its package is in `front`, and runs this one.

mod bench;
mod browser;
mod cargo;
mod cli;
mod command;
mod compare;
mod deny;
mod drivers;
mod fuzz;
mod gpu_day;
mod hub;
mod install;
mod light;
mod markdown;
mod names;
mod peers;
mod prose;
mod reference;
mod reference_file;
mod results;
mod roofline;
mod scenes;
mod soak;
mod steps;
mod synth;
mod train;
mod verify;
mod vulkan;
mod wasm;
mod window;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Parser, Subcommand};

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Segment two scenes with the model of this repository: builds, runs, says where the pictures are
    Demo,
    /// Run every check: format, lints, dependencies, tests, documentation, verify
    Test,
    /// List comments that are too wide and words that mislead, or wrap the comments
    Prose(prose::ProseArguments),
    /// Fuzz the readers of files and of the Hub's answers with libFuzzer
    Fuzz(fuzz::FuzzArguments),
    /// Run mixed work on one engine from many threads, and compare all answers
    Soak(soak::SoakArguments),
    /// Compare the engine with tensors that transformers printed
    Verify(verify::VerifyArguments),
    /// Regenerate the committed checkpoints and references, with Python and transformers
    Reference(reference::ReferenceArguments),
    /// Retrain the small model on generated scenes, with Python and transformers: one to two hours
    Train(train::TrainArguments),
    /// Measure how cost grows with the work, or this tree beside another version
    Bench(bench::BenchArguments),
    /// Measure PyTorch, ONNX Runtime and burn beside this engine, in turn
    Peers(peers::PeersArguments),
    /// Check and measure with the software Vulkan drivers of several Debian releases and of Chromium, in turn
    Drivers(drivers::DriversArguments),
    /// Measure what an adapter reaches at best, and what each kernel makes of it
    Roofline(roofline::RooflineArguments),
    /// Measure every kernel in every form and write a page of it; the same as `clipseg kernels`, see its
    /// --help
    #[command(disable_help_flag = true)]
    Kernels {
        /// What `clipseg kernels` takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check and measure a machine with a GPU by one command, into a folder
    GpuDay(gpu_day::GpuDayArguments),
    /// Write generated scenes as a folder of pictures, masks and prompts
    Scenes(scenes::ScenesArguments),
    /// Write a full-size checkpoint of made-up numbers
    Synth(synth::SynthArguments),
    /// Run the example of a window, or try it on a virtual screen
    Window(window::WindowArguments),
    /// Convert a PyTorch checkpoint; the same as `clipseg convert`, see its --help
    #[command(disable_help_flag = true)]
    Convert {
        /// What `clipseg convert` takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// The repository's root: where this program was built, or, on a machine that has only its files, the folder
/// with `fixtures/` that the program lies in or below, else the one that it is called in.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let has_fixtures = |folder: &&Path| folder.join("fixtures").is_dir();
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        if let Some(built) = built.filter(has_fixtures) {
            return built.to_owned();
        }
        let own = std::env::current_exe().unwrap_or_default();
        own.ancestors().find(has_fixtures).map_or_else(|| PathBuf::from("."), Path::to_owned)
    })
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Demo => steps::demo(),
        Task::Test => steps::test(),
        Task::Prose(arguments) => prose::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Verify(arguments) => verify::run(&arguments),
        Task::Reference(arguments) => reference::run(&arguments),
        Task::Train(arguments) => train::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Peers(arguments) => peers::run(&arguments),
        Task::Drivers(arguments) => drivers::run(&arguments),
        Task::Roofline(arguments) => roofline::run(&arguments),
        Task::Kernels { arguments } => command::kernels(&arguments),
        Task::GpuDay(arguments) => gpu_day::run(&arguments),
        Task::Scenes(arguments) => scenes::run(&arguments),
        Task::Synth(arguments) => synth::run(&arguments),
        Task::Window(arguments) => window::run(&arguments),
        Task::Convert { arguments } => steps::convert(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
