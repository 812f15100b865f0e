//! How a download is shown.

use clipseg::hub;
use clipseg_files::shown;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{report, stop};

/// A bar on stderr for files that are downloaded, one after the other; there from the first byte on, gone
/// when dropped, and never there without a terminal.
#[derive(Default)]
pub struct Transfer(Option<(String, ProgressBar)>);

impl Transfer {
    /// Shows the state of the download.
    pub fn show(&mut self, progress: hub::Progress<'_>) {
        match progress {
            hub::Progress::Bytes { file, done, total } => {
                let bar = self.bar(file);
                bar.set_message(shown(file));
                let is_first = bar.length() != total;
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.set_position(done);
                let megabytes = |bytes: u64| bytes / 1_000_000;
                if let Some(total) = total {
                    let what = format!("MB of {}; run this again to go on from there", shown(file));
                    stop::count(megabytes(done), megabytes(total), what);
                }
                // The estimate starts anew with each file: bytes from an earlier run do not tell how fast the
                // rest comes.
                if is_first {
                    bar.reset_eta();
                }
            }
            hub::Progress::Waits { file } => {
                self.bar(file)
                    .set_message(format!("{}: waiting for another program that downloads it", shown(file)));
            }
            hub::Progress::Retries { what, wait, reason, is_asked_for: true, .. } => {
                let bar = self.bar(what);
                let line = format!(
                    "{}: {} and asks to wait; trying again in {} s",
                    shown(what),
                    shown(reason),
                    wait.as_secs_f32().ceil()
                );
                bar.set_message(line.clone());
                // Logs show no bar, and minutes of silence look like a fault.
                bar.suspend(|| report::warning(&line));
            }
            hub::Progress::Retries { what, failures, reason, .. } => {
                self.bar(what).set_message(format!(
                    "{}: {}; trying again ({failures})",
                    shown(what),
                    shown(reason)
                ));
            }
            _ => {}
        }
    }

    /// The bar of this file; removes the bar of the file before.
    fn bar(&mut self, file: &str) -> &ProgressBar {
        let is_new = self.0.as_ref().is_none_or(|(name, _)| name != file);
        if is_new && let Some((_, bar)) = self.0.take() {
            bar.finish_and_clear();
        }
        let (_, bar) = self.0.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template =
                "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            (file.to_owned(), bar)
        });
        bar
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some((_, bar)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
