//! Runs the `clipseg` command, and reads what its benches print.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The parts of `clipseg bench --json` that are read. Another version may not print those that have a
/// default.
#[derive(Deserialize)]
pub struct Bench {
    pub adapter: String,
    #[serde(default)]
    pub texts: Vec<String>,
    #[serde(default)]
    pub first_mask_seconds: f64,
    pub warm: Vec<Step>,
    #[serde(default)]
    pub photos_per_second: f64,
    #[serde(default)]
    pub arena_bytes: u64,
    pub kernel_times: Option<Vec<Kernel>>,
}

#[derive(Deserialize)]
pub struct Step {
    pub name: String,
    pub median_seconds: f64,
}

#[derive(Deserialize)]
pub struct Kernel {
    #[serde(default)]
    pub kernel: String,
    #[serde(default)]
    pub seconds: f64,
    #[serde(default)]
    pub flops: u64,
}

impl Bench {
    /// The median seconds of the warm runs, all steps together.
    pub fn warm_seconds(&self) -> Result<f64> {
        let all = self.warm.iter().find(|step| step.name == "all together");
        Ok(all.context("the bench has no step \"all together\"")?.median_seconds)
    }
}

/// The command that was built in `repository`, a folder with a workspace.
pub fn clipseg(repository: &Path) -> Command {
    Command::new(repository.join("target/release").join(format!("clipseg{}", std::env::consts::EXE_SUFFIX)))
}

/// The program that ends a command in time.
const TIMEOUT: &str = "timeout";
/// The exit codes by which coreutils' `timeout` says that it has ended a command: by TERM, and by KILL where
/// the command ignored that. If KILL comes from elsewhere, `timeout` dies of it too.
const TIMED_OUT: [i32; 2] = [124, 128 + 9];

/// A program that is ended after `seconds`, on systems with coreutils.
pub fn limited(program: impl AsRef<OsStr>, seconds: u32) -> Command {
    let mut command = Command::new(TIMEOUT);
    // In the foreground, so that an interruption from the keyboard reaches it.
    command.args(["--foreground", "--kill-after=5", &seconds.to_string()]).arg(program);
    command
}

/// What a command prints.
pub fn printed(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", Path::new(command.get_program()).display()))?;
    let Some(code) = output.status.code() else { bail!("it died by {}", output.status) };
    if command.get_program() == TIMEOUT && TIMED_OUT.contains(&code) {
        bail!("it was not done in time");
    }
    if !output.status.success() {
        let said = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes));
        let last = said.iter().find_map(|text| text.trim().lines().last());
        bail!("{}", last.unwrap_or("it failed and says nothing"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a command prints, parsed as JSON: all of it, or else its last line.
pub fn json_of<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let text = printed(command)?;
    let last = text.trim().lines().last().unwrap_or_default();
    serde_json::from_str(&text).or_else(|_| serde_json::from_str(last)).context("it printed no JSON")
}

/// The median of the values; NaN if there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (middle, last) = (values.len() / 2, values.len().saturating_sub(1));
    values.get(middle).zip(values.get(last - middle)).map_or(f64::NAN, |(a, b)| (a + b) / 2.0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Bench, limited, printed};

    #[test]
    fn an_earlier_version_is_read() {
        let printed =
            r#"{"adapter": "a GPU", "prompts": 1, "warm": [{"name": "decoding", "median_seconds": 0.5}]}"#;
        let bench: Bench = serde_json::from_str(printed).expect("what it does not print has a default");
        assert_eq!((bench.texts.len(), bench.warm[0].median_seconds), (0, 0.5));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn how_a_program_ended_is_told() {
        let error = |script: &str| {
            let mut command = limited(Path::new("sh"), 1);
            printed(command.args(["-c", script])).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(error("echo fine"), "");
        assert_eq!(error("echo words >&2; exit 3"), "words");
        assert_eq!(error("echo other words; exit 3"), "other words");
        assert_eq!(error("exit 3"), "it failed and says nothing");
        assert_eq!(error("sleep 9"), "it was not done in time");
        assert_eq!(error("trap '' TERM; exec sleep 99"), "it was not done in time");
        let killed = error("kill -KILL $$");
        assert!(killed.starts_with("it died by signal: 9 (SIGKILL)"), "{killed}");
        let died = error("kill -SEGV $$");
        assert!(died.starts_with("it died by signal: 11 (SIGSEGV)"), "{died}");
    }
}
