//! Running the `clipseg` command, and what its benches print.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The parts of `clipseg bench --json` that are read. Another version may not print those that have a default.
#[derive(Deserialize)]
pub struct Bench {
    pub adapter: String,
    #[serde(default)]
    pub texts: Vec<String>,
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
    pub flops: u64,
}

/// The command that was built in `repository`, a folder with a workspace.
pub fn clipseg(repository: &Path) -> Command {
    Command::new(repository.join("target/release").join(format!("clipseg{}", std::env::consts::EXE_SUFFIX)))
}

/// What a command prints in its last line, or in all, as JSON.
pub fn json_of<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", Path::new(command.get_program()).display()))?;
    if output.status.code().is_none() {
        bail!("it died by {}", output.status);
    }
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{}", message.trim().lines().last().unwrap_or("it failed and says nothing"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.trim().lines().last().unwrap_or_default();
    serde_json::from_str(&text).or_else(|_| serde_json::from_str(last)).context("it printed no JSON")
}

/// The middle of the values; not a number without any.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (middle, last) = (values.len() / 2, values.len().saturating_sub(1));
    values.get(middle).zip(values.get(last - middle)).map_or(f64::NAN, |(a, b)| (a + b) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::Bench;

    #[test]
    fn an_earlier_version_is_read() {
        let printed =
            r#"{"adapter": "a GPU", "prompts": 1, "warm": [{"name": "decoding", "median_seconds": 0.5}]}"#;
        let bench: Bench = serde_json::from_str(printed).expect("what it does not print has a default");
        assert_eq!((bench.texts.len(), bench.warm[0].median_seconds), (0, 0.5));
    }
}
