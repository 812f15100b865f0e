//! Checks and measures one driver at one width.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::release::Ready;
use crate::cargo::cargo;
use crate::cli::{Bench, clipseg, json_of, printed};
use crate::root;

/// The program of the ops' tests, built where it is not.
fn ops_tests() -> Result<PathBuf> {
    let arguments = ["test", "--quiet", "--workspace", "--test", "ops", "--no-run", "--message-format=json"];
    let messages = printed(&mut cargo(arguments))?;
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_ops = message["target"]["name"] == "ops";
        message["executable"].as_str().filter(|_| is_ops).map(PathBuf::from)
    });
    program.context("cargo did not say where it built the tests of the ops")
}

/// The trained model that is committed.
const SMALL: &str = "fixtures/models/clipseg-shapes";

/// What all drivers share.
pub struct Session {
    /// A checkpoint of the published size; none where only the small model is measured.
    pub full: Option<PathBuf>,
    /// Warm runs of that model. The small one has five.
    pub runs: u16,
    /// The seconds after which a program is ended.
    pub longest: u32,
    /// A folder that is emptied at the start. The caches are in it.
    pub folder: PathBuf,
}

/// The results of one driver at one width. Where something failed there is its message.
pub struct Measured {
    /// The small model, run once with an empty cache folder of its own.
    pub empty: Result<Bench>,
    /// The same model once its shaders are in the cache that all drivers and widths share.
    pub small: Result<Bench>,
    /// The last line that verify prints.
    pub verify: Result<String>,
    pub full: Option<Result<Bench>>,
}

impl Session {
    /// Runs everything in turn. Without a `width` the variable stays unset, as it is for most users.
    pub fn measure(&self, driver: &Ready, width: Option<&str>) -> Result<Measured> {
        let alone = self.folder.join("empty");
        empty(&alone)?;
        let small = Path::new(SMALL);
        let first = self.bench(driver, width, &alone, small, 1);
        // The command runs before verify: a program that embeds the library must survive what the command has
        // left in the shared cache.
        let shared = self.cache();
        let filled = self.bench(driver, width, &shared, small, 1);
        let small = filled.and_then(|_| self.bench(driver, width, &shared, small, 5));
        let verify = self.verify(driver, width);
        let full = self.full.as_ref().map(|model| self.bench(driver, width, &shared, model, self.runs));
        Ok(Measured { empty: first, small, verify, full })
    }

    /// Runs `cargo xtask verify`, as a program that sets the width, or sets nothing.
    pub fn verify(&self, driver: &Ready, width: Option<&str>) -> Result<String> {
        let xtask = std::env::current_exe().context("cannot find this program")?;
        let mut verify = driver.command(&xtask, self.longest);
        set_nothing(&mut verify).env("XDG_CACHE_HOME", self.cache());
        if let Some(width) = width {
            // Set as the library's documentation says, with the folder that the command uses.
            let caches = self.cache().join("clipseg");
            fs::create_dir_all(&caches)
                .with_context(|| format!("cannot make the folder {}", caches.display()))?;
            verify.envs(clipseg::llvmpipe_environment(width, &caches));
        }
        let text = printed(verify.args(["verify", "--adapter", "driver"]))?;
        Ok(text.trim().lines().last().unwrap_or_default().to_owned())
    }

    /// Runs the tests of the ops as they are built here, and gives the line that counts them.
    pub fn test_ops(&self, driver: &Ready, width: &str) -> Result<String> {
        let mut ops = driver.command(&ops_tests()?, self.longest);
        set_nothing(&mut ops).envs(clipseg::llvmpipe_environment(width, &self.cache()));
        let text = printed(ops.arg("--quiet"))?;
        Ok(text.trim().lines().last().unwrap_or_default().to_owned())
    }

    fn bench(
        &self,
        driver: &Ready,
        width: Option<&str>,
        cache: &Path,
        model: &Path,
        runs: u16,
    ) -> Result<Bench> {
        let mut bench = driver.command(Path::new(clipseg(root()).get_program()), self.longest);
        set_nothing(&mut bench).env("XDG_CACHE_HOME", cache);
        if let Some(width) = width {
            bench.env(clipseg::LLVMPIPE_WIDTH_VARIABLE, width);
        }
        bench
            .args([
                "bench",
                "--adapter",
                "driver",
                "--json",
                "--profile",
                "--runs",
                &runs.to_string(),
                "--model",
            ])
            .arg(model);
        json_of(&mut bench)
    }

    /// The cache folder that all drivers share.
    fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }
}

/// Makes an empty folder, or empties the one that is there.
pub fn empty(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(folder),
    }
    .with_context(|| format!("cannot empty {}", folder.display()))
}

/// Removes the variables that the user may have set for these drivers.
fn set_nothing(command: &mut Command) -> &mut Command {
    for name in [clipseg::LLVMPIPE_WIDTH_VARIABLE, "MESA_SHADER_CACHE_DIR", "MESA_SHADER_CACHE_DISABLE"] {
        command.env_remove(name);
    }
    command
}
