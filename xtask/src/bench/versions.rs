//! This tree beside another version of it, in turn.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::BenchArguments;
use crate::cli::{Bench, Step, clipseg, json_of, median};
use crate::{cargo, markdown, root};

/// A step that takes this much longer than in the other version is one that got slower.
const SLOWER: f64 = 1.1;
/// Of so many rounds each, all of ours are slower than all of theirs by chance in one of 70 comparisons; of
/// fewer that says too little.
const CONFIDENT_ROUNDS: usize = 4;

/// A commit of this repository.
pub struct Commit {
    /// As the caller names it.
    name: String,
    hash: String,
}

/// The commit that `name` stands for.
pub fn commit(name: &str) -> Result<Commit> {
    // A name with a leading dash would be an option.
    let output =
        git(root(), &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")])
            .output()
            .context("cannot start git")?;
    let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        output.status.success() && !hash.is_empty(),
        "--compare {name}: there is no such commit, branch or tag here; `git log` and `git branch --all` list them"
    );
    Ok(Commit { name: name.to_owned(), hash })
}

/// Measures this tree and `commit` in turn, and prints their steps side by side.
///
/// # Errors
/// When a step got slower by more than a tenth, beyond what the rounds spread.
pub fn compare(commit: &Commit, model: &Path, arguments: &BenchArguments) -> Result<()> {
    let other = check_out(commit)?;
    cargo::build_cli_of(&other)?;
    let model = model.canonicalize().with_context(|| format!("cannot find {}", model.display()))?;
    let turn = |repository: &Path| -> Result<Vec<Step>> {
        let mut command = clipseg(repository);
        command.arg("bench").arg("--model").arg(&model).arg("--json");
        command.args(["--prompts", &arguments.prompts.to_string(), "--runs", &arguments.runs.to_string()]);
        Ok(json_of::<Bench>(&mut command)?.warm)
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for round in 0..arguments.rounds {
        println!("round {} of {}", round + 1, arguments.rounds);
        // Neither is always the first: the machine may get warmer, or slower.
        let (ours, theirs) = if round % 2 == 0 {
            let ours = turn(root())?;
            (ours, turn(&other)?)
        } else {
            let theirs = turn(&other)?;
            (turn(root())?, theirs)
        };
        for step in ours {
            let Some(their) = theirs.iter().find(|their| their.name == step.name) else { continue };
            let known = pairs.iter().position(|pair| pair.step == step.name);
            let place = known.unwrap_or(pairs.len());
            if known.is_none() {
                pairs.push(Pair { step: step.name, ours: Vec::new(), theirs: Vec::new() });
            }
            pairs[place].ours.push(step.median_seconds);
            pairs[place].theirs.push(their.median_seconds);
        }
    }
    println!("\n{}", to_markdown(&commit.name, &pairs));
    let unclear: Vec<_> =
        pairs.iter().filter(|pair| pair.is_within_spread()).map(|pair| pair.step.as_str()).collect();
    if !unclear.is_empty() {
        println!(
            "warning: the difference may be noise in: {}. A median lies within the other's spread; more --rounds on a \
             quieter machine may tell",
            unclear.join(", ")
        );
    }
    let slower: Vec<_> =
        pairs.iter().filter(|pair| pair.is_slower()).map(|pair| pair.step.as_str()).collect();
    ensure!(
        slower.is_empty(),
        "slower than {} by more than {:.0} %, in every round: {}",
        commit.name,
        1e2 * (SLOWER - 1.0),
        slower.join(", ")
    );
    Ok(())
}

/// A step's seconds in every round.
struct Pair {
    step: String,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pair {
    /// Whether a median lies between the fastest and the slowest round of the other.
    fn is_within_spread(&self) -> bool {
        let within = |value: f64, all: &[f64]| {
            all.iter().any(|&other| other <= value) && all.iter().any(|&other| other >= value)
        };
        within(median(self.ours.clone()), &self.theirs) || within(median(self.theirs.clone()), &self.ours)
    }

    /// Whether this tree is slower by more than [`SLOWER`], and surely so: each of its rounds than each of
    /// the other's.
    fn is_slower(&self) -> bool {
        let least = self.ours.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.theirs.iter().copied().fold(0.0, f64::max);
        self.ours.len() >= CONFIDENT_ROUNDS
            && least > most
            && median(self.ours.clone()) > SLOWER * median(self.theirs.clone())
    }
}

fn to_markdown(name: &str, pairs: &[Pair]) -> String {
    let heading = ["step", "this tree", "spread", name, "spread", "ratio"].map(str::to_owned);
    let row = |pair: &Pair| {
        let cells = |seconds: &[f64]| {
            let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
            let most = seconds.iter().copied().fold(0.0, f64::max);
            let spread = format!("{:.1}–{:.1}", 1e3 * least, 1e3 * most);
            [format!("{:.1} ms", 1e3 * median(seconds.to_vec())), spread]
        };
        let ratio = median(pair.ours.clone()) / median(pair.theirs.clone());
        let mut row = vec![pair.step.clone()];
        row.extend(cells(&pair.ours));
        row.extend(cells(&pair.theirs));
        row.push(format!("{ratio:.3}{}", if pair.is_within_spread() { " ?" } else { "" }));
        row
    };
    markdown::table(&heading, &pairs.iter().map(row).collect::<Vec<_>>())
}

/// A work tree of `commit` in `target/compare/`. It stays there with what was built in it, so that the next
/// comparison with that name builds little.
fn check_out(commit: &Commit) -> Result<PathBuf> {
    let safe =
        |letter: char| if letter.is_ascii_alphanumeric() || "._".contains(letter) { letter } else { '-' };
    let folder = root().join("target/compare").join(commit.name.chars().map(safe).collect::<String>());
    let place = folder.to_string_lossy();
    if folder.join(".git").exists() {
        run(git(&folder, &["checkout", "--quiet", "--force", "--detach", &commit.hash]))?;
    } else {
        // Forced, as one that was deleted by hand is still on git's list.
        run(git(root(), &["worktree", "add", "--quiet", "--force", "--detach", &place, &commit.hash]))?;
    }
    Ok(folder)
}

fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments);
    command
}

fn run(mut command: Command) -> Result<()> {
    let status = command.status().context("cannot start git")?;
    ensure!(status.success(), "git failed: {command:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_from_a_difference() {
        let pair = |ours: &[f64], theirs: &[f64]| Pair {
            step: "decoding".to_owned(),
            ours: ours.to_vec(),
            theirs: theirs.to_vec(),
        };
        assert!(pair(&[1.0, 1.1, 1.2], &[1.05, 1.15, 1.3]).is_within_spread());
        let faster = pair(&[1.0, 1.1, 1.2], &[1.9, 2.2, 2.4]);
        assert!(!faster.is_within_spread());
        let text = to_markdown("main", &[faster]);
        assert!(
            text.contains("1100.0 ms") && text.contains("1900.0–2400.0") && text.contains(" 0.500 |"),
            "{text}"
        );
    }

    #[test]
    fn only_what_is_surely_slower_by_a_tenth_fails() {
        let is_slower = |ours: &[f64], theirs: &[f64]| {
            let step = "decoding".to_owned();
            Pair { step, ours: ours.to_vec(), theirs: theirs.to_vec() }.is_slower()
        };
        let theirs = [1.0, 1.02, 1.05, 1.1];
        assert!(is_slower(&[1.2, 1.25, 1.3, 1.4], &theirs));
        // One round that is as fast, less than a tenth, too few rounds, faster.
        assert!(!is_slower(&[1.05, 1.25, 1.3, 1.4], &theirs));
        assert!(!is_slower(&[1.11, 1.12, 1.12, 1.13], &theirs));
        assert!(!is_slower(&[1.2, 1.25, 1.3], &theirs[..3]));
        assert!(!is_slower(&[0.5, 0.6, 0.7, 0.8], &theirs));
    }

    #[test]
    fn a_commit_that_is_not_there_is_an_error_that_names_it() {
        let error = commit("no/such branch").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with("--compare no/such branch: there is no such commit"), "{error}");
        assert!(commit("--help").is_err());
    }
}
