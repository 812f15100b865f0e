//! Progress bars, status lines and how long things take.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// A spinner on stderr with the current step beside it; gone when dropped, and never there without a
/// terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts the spinner.
    pub fn start() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::default_spinner());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Names the step that begins.
    pub fn step(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
    }

    /// Takes the spinner off the terminal while something else is printed.
    pub fn pause<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar on stderr for work whose length is known; gone when dropped, and never there without a terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// Starts the bar.
    pub fn start(length: u64, what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let template = "{msg} {wide_bar} {pos}/{len}, {eta} left";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(what.to_owned());
        Self(bar)
    }

    /// Counts one more as done.
    pub fn advance(&self) {
        self.0.inc(1);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How long work will go on, judged by how long it took so far.
pub struct Estimate {
    start: Instant,
    total: f64,
}

impl Estimate {
    /// Begins an estimate for `total` pieces of work.
    pub fn start(total: usize) -> Self {
        Self { start: Instant::now(), total: total as f64 }
    }

    /// What to append to a message when `done` pieces, in whole or in part, are done; nothing in the first
    /// second.
    pub fn left(&self, done: f64) -> String {
        left_after(self.start.elapsed(), done, self.total)
    }
}

fn left_after(elapsed: Duration, done: f64, total: f64) -> String {
    if elapsed < Duration::from_secs(1) || done <= 0.0 || done >= total {
        return String::new();
    }
    let left = elapsed.as_secs_f64() * (total - done) / done;
    match Duration::try_from_secs_f64(left.max(1.0)) {
        Ok(left) => format!(", {} left", HumanDuration(left)),
        Err(_) => String::new(),
    }
}

/// Measures one step after the other.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins the first step.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds of the step that ends here; the next begins.
    pub fn lap(&mut self) -> f64 {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_in_proportion_to_what_is_done() {
        let after = |seconds: u64, done: f64| left_after(Duration::from_secs(seconds), done, 10.0);
        assert_eq!(after(60, 2.0), ", 4 minutes left");
        assert_eq!(after(3, 2.5), ", 9 seconds left");
        assert_eq!(after(60, 9.999), ", 1 second left");
        for (seconds, done) in [(0, 5.0), (60, 0.0), (60, 10.0)] {
            assert_eq!(after(seconds, done), "", "{seconds} {done}");
        }
        assert_eq!(after(u64::MAX, 1e-300), "");
    }
}
