//! The page of `clipseg kernels` in a browser, where there is one of Chromium's kin.

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::cargo::{cargo, step};

/// What such browsers are called.
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Opens a report and asks the browser what it made of it. Where there is none, this says so and checks
/// nothing.
pub fn check() -> Result<()> {
    let Some(browser) = find() else {
        println!(
            "\n== a report in a browser: not checked, as there is no Chromium; on Debian `apt-get install chromium` brings it"
        );
        return Ok(());
    };
    let mut test = cargo(["test", "--workspace", "--test", "cli", "a_browser_shows", "--", "--ignored"]);
    test.env("CLIPSEG_TEST_BROWSER", browser);
    step("a report in a browser", test)
}

/// The one that the environment names, or the first on the path.
fn find() -> Option<PathBuf> {
    let named = env::var_os("CLIPSEG_TEST_BROWSER").map(PathBuf::from);
    let folders = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&folders).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    named.into_iter().chain(on_path).find(|path| path.is_file())
}
