//! Prints each photo's outcome, in the photos' order.

use std::path::Path;

use anyhow::{Result, ensure};

use super::report::{Failure, Report};
use crate::paths::PathText;
use crate::{output, report, stop};

/// Prints the outcome of each photo as soon as it is known, so that no later failure can lose it.
pub struct Outcomes {
    json: bool,
    /// The number of photos to segment.
    photos: usize,
    /// The number of those whose outcome is known.
    done: usize,
    failures: usize,
    /// The failure of the only photo, which becomes the command's.
    failure: Option<anyhow::Error>,
}

impl Outcomes {
    /// The outcomes of `photos`, printed as lines of JSON or as text.
    pub fn new(photos: usize, json: bool) -> Self {
        let outcomes = Self { json, photos, done: 0, failures: 0, failure: None };
        outcomes.count();
        outcomes
    }

    /// Has photos counted where the run is asked to stop, and not what was counted in between, such as bytes
    /// of a download.
    pub fn count(&self) {
        stop::count(self.done as u64, self.photos as u64, "photos");
    }

    /// Prints the outcome of a photo.
    ///
    /// # Errors
    /// Where it cannot be printed.
    pub fn add(&mut self, photo: &Path, outcome: Result<Report>) -> Result<()> {
        match outcome {
            Ok(report) if self.json => output::print_json_line(&report),
            Ok(report) if self.photos == 1 => output::print(&report.to_text()),
            Ok(report) => output::print(&format!("{}\n{}\n", PathText(photo).printable(), report.to_text())),
            Err(error) => self.add_failure(photo, error),
        }?;
        self.done += 1;
        self.count();
        Ok(())
    }

    fn add_failure(&mut self, photo: &Path, error: anyhow::Error) -> Result<()> {
        self.failures += 1;
        if self.json {
            output::print_json_line(&Failure { photo: PathText(photo), error: report::describe(&error) })?;
        }
        if self.photos == 1 {
            self.failure = Some(error);
        } else {
            report::error(&error);
        }
        Ok(())
    }

    /// Ends the command, successfully if no photo failed.
    ///
    /// # Errors
    /// The failure of the only photo, or the number of several photos that failed.
    pub fn finish(self) -> Result<()> {
        let Self { failures, photos, .. } = self;
        self.failure.map_or(Ok(()), Err)?;
        ensure!(failures == 0, "{failures} of {photos} photos could not be segmented");
        Ok(())
    }
}
