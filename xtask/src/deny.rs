//! cargo-deny: licences, advisories, duplicate versions and sources of all dependencies, by the rules in
//! `deny.toml`.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::root;

/// The version that is installed where there is no cargo-deny.
const VERSION: &str = "~0.20";
/// Exceptions that are not needed any more are errors too.
const STRICT: [&str; 4] = ["--deny", "unmatched-skip", "--deny", "unnecessary-skip"];

/// Checks the dependencies. Where cargo-deny is missing, it is installed into `target/tools`; if that fails,
/// this says so and checks nothing. The database of advisories is on GitHub: if that cannot be reached, this
/// says so and checks the rest.
pub fn check() -> Result<()> {
    println!("\n== dependencies: cargo deny");
    if !is_there() && !install()? {
        println!("== dependencies: not checked, as cargo-deny cannot be installed here");
        return Ok(());
    }
    let ok = deny().arg("check").args(STRICT).args(["bans", "licenses", "sources"]).status()?.success();
    ensure!(
        ok,
        "dependencies: `cargo deny check bans licenses sources` failed; deny.toml has the exceptions"
    );
    if !deny().args(["fetch", "db"]).output()?.status.success() {
        println!(
            "== dependencies: ok, but for advisories: their database on GitHub cannot be reached from here"
        );
        return Ok(());
    }
    let ok = deny().args(["check", "advisories"]).status()?.success();
    ensure!(ok, "dependencies: `cargo deny check advisories` failed");
    println!("== dependencies: ok, advisories too");
    Ok(())
}

/// cargo-deny, the user's or the one in `target/tools`.
fn deny() -> Command {
    let own = root().join("target/tools/bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    let mut command = Command::new(if own.exists() { own.into_os_string() } else { "cargo-deny".into() });
    command.current_dir(root());
    command
}

fn is_there() -> bool {
    deny().arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Builds cargo-deny, unoptimised: that takes half as long, and it checks within seconds all the same.
fn install() -> Result<bool> {
    let status = Command::new("cargo")
        .args(["install", "--quiet", "--locked", "--debug", "--version", VERSION, "--root", "target/tools"])
        .arg("cargo-deny")
        .current_dir(root())
        .status()?;
    Ok(status.success())
}
