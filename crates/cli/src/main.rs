//! The program `clipseg`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: this is the first thing that the program does; it has started no thread.
    unsafe { clipseg_cli::run() }
}
