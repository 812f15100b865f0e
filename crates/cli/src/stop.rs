//! Stops the command before its work is done, on SIGINT (Ctrl-C) or SIGTERM, which batch systems send.
//!
//! On Windows the system ends the process; the next run removes the files that it left unfinished.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far the work is.
struct Step {
    done: u64,
    total: u64,
    /// The unit that is counted, and anything to add to the message.
    what: String,
}

static STEP: Mutex<Option<Step>> = Mutex::new(None);

/// What is done before the process ends; it gives what to add to the message.
type Last = Box<dyn FnOnce() -> String + Send>;

static LAST: Mutex<Option<Last>> = Mutex::new(None);

fn step() -> MutexGuard<'static, Option<Step>> {
    STEP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins work of `total` pieces, called `what`, of which `done` are done.
pub fn count(done: u64, total: u64, what: impl Display) {
    *step() = Some(Step { done, total, what: what.to_string() });
}

/// Counts one more piece as done.
pub fn advance() {
    if let Some(step) = &mut *step() {
        step.done += 1;
    }
}

/// Has something done before the process ends because it was asked to stop, and its result added to the
/// message.
pub fn before_the_end(last: impl FnOnce() -> String + Send + 'static) {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(last));
}

/// From now on, when the process is asked to stop, it does what is to be done [`before_the_end`], removes
/// unfinished files, says how far it came, and exits with 128 plus the signal's number.
#[cfg(unix)]
pub fn on_signals() -> anyhow::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
            let more = last.map(|last| last()).unwrap_or_default();
            clipseg_files::remove_unfinished();
            say(&(message() + &more));
            // Skip the exit handlers: those of drivers would take apart what other threads are using.
            signal_hook::low_level::exit(128 + signal);
        }
    })?;
    Ok(())
}

#[cfg(not(unix))]
pub fn on_signals() -> anyhow::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn say(message: &str) {
    clear_line();
    let _ = writeln!(stderr(), "{message}");
}

/// Clears the terminal's line, where a bar or a spinner may be.
pub fn clear_line() {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\u{1b}[2K");
    }
}

#[cfg_attr(not(unix), allow(dead_code, reason = "said after a signal"))]
fn message() -> String {
    match &*step() {
        Some(Step { done, total, what }) => format!("stopped after {done} of {total} {what}"),
        None => "stopped before anything was done".to_owned(),
    }
}
