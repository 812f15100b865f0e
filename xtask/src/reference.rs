//! `cargo xtask reference`: makes the committed checkpoints and references anew, with Python and
//! transformers, in the release that all numbers are compared with and in a current one.
//!
//! Only a change of `fixtures/` needs it; checking against them needs no Python.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The packages of a virtual environment.
pub struct Requirements {
    /// From the root.
    file: &'static str,
    /// The text of that file, and of those that it includes.
    text: &'static str,
}

/// transformers in the release that the references were made with.
pub const REFERENCE: Requirements = Requirements {
    file: "tools/fixtures/requirements.txt",
    text: include_str!("../../tools/fixtures/requirements.txt"),
};
/// A current transformers, over the packages of [`REFERENCE`], so that torch and what it needs are installed
/// once.
const CURRENT: Requirements = Requirements {
    file: "tools/fixtures/requirements-5.txt",
    text: concat!(
        include_str!("../../tools/fixtures/requirements.txt"),
        include_str!("../../tools/fixtures/requirements-5.txt")
    ),
};
/// The packages of [`REFERENCE`], and other engines.
pub const PEERS: Requirements = Requirements {
    file: "tools/peers/requirements.txt",
    text: concat!(
        include_str!("../../tools/fixtures/requirements.txt"),
        include_str!("../../tools/peers/requirements.txt")
    ),
};

/// The Hub's client as it is today.
pub const HUB: Requirements = Requirements {
    file: "crates/hub/tests/python/requirements.txt",
    text: include_str!("../../crates/hub/tests/python/requirements.txt"),
};
/// The Hub's client that the references were made with.
pub const OLD_HUB: Requirements = Requirements {
    file: "crates/hub/tests/python/old-requirements.txt",
    text: include_str!("../../crates/hub/tests/python/old-requirements.txt"),
};

/// What `cargo xtask reference` takes.
#[derive(Args, Debug)]
pub struct ReferenceArguments {
    #[command(flatten)]
    python: Python,
    /// Where the tiny checkpoints go
    #[arg(long, value_name = "DIR", default_value_os_t = Path::new(ROOT).join("fixtures/models"))]
    pub out: PathBuf,
    /// Make this tiny checkpoint with its references alone; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "full")]
    only: Vec<String>,
    /// Also make the full-size checkpoint (600 MB, in target/full) and the reference in fixtures/full
    #[arg(long)]
    pub full: bool,
}

/// Sets up the virtual environment if need be and runs the scripts of `tools/fixtures` in it.
pub fn run(arguments: &ReferenceArguments) -> Result<()> {
    let python = arguments.python.ready(REFERENCE)?;
    let scripts = Path::new(ROOT).join("tools/fixtures");
    println!("making the tiny checkpoints and their references in {}", arguments.out.display());
    let script = scripts.join("reference.py");
    let out = [script.as_os_str(), "--out".as_ref(), arguments.out.as_os_str()];
    if !arguments.only.is_empty() {
        let names = arguments.only.iter().map(OsStr::new);
        return python.execute(out.into_iter().chain([OsStr::new("--only")]).chain(names));
    }
    python.execute(out)?;
    println!(
        "writing checksums of generated scenes, and what the trained model marks in two, to fixtures/shapes"
    );
    python.execute([scripts.join("shapes_reference.py")])?;
    python.execute([scripts.join("shapes_golden.py")])?;
    println!("making the archives to convert, and what transformers makes of them, in fixtures/convert");
    python.execute([scripts.join("convert_reference.py")])?;
    println!(
        "saving checkpoints with a current transformers, and comparing what it computes: docs/transformers-5.md"
    );
    let current = arguments.python.ready_over(&python, CURRENT)?;
    current.execute([scripts.join("transformers5.py")])?;
    if arguments.full {
        println!("making the full-size reference in fixtures/full");
        python.execute([scripts.join("full_reference.py")])?;
    }
    Ok(())
}

/// Which Python runs the scripts.
#[derive(Args, Debug)]
pub struct Python {
    /// The Python that makes the virtual environment; the pinned versions were tried on 3.11
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Where the virtual environment lives; kept, and made anew when the pinned versions change
    #[arg(long, value_name = "DIR", default_value_os_t = Path::new(ROOT).join("target/python"))]
    venv: PathBuf,
}

/// The Python of a virtual environment that has the pinned versions.
pub struct Ready(PathBuf);

impl Python {
    /// Sets up the virtual environment if need be.
    pub fn ready(&self, requirements: Requirements) -> Result<Ready> {
        ready_venv(&self.python, &self.venv, requirements, None).map(Ready)
    }

    /// Sets up a second environment beside the first if need be, which uses the packages of `base` unless it
    /// has its own.
    fn ready_over(&self, base: &Ready, requirements: Requirements) -> Result<Ready> {
        let mut name = self.venv.file_name().unwrap_or_default().to_owned();
        name.push("-5");
        ready_venv(&self.python, &self.venv.with_file_name(name), requirements, Some(base)).map(Ready)
    }
}

impl Ready {
    /// A command that starts it.
    pub fn command(&self) -> Command {
        Command::new(&self.0)
    }

    /// Runs a script to its end; its output goes where ours goes.
    pub fn execute(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
        execute(&self.0, arguments)
    }
}

/// The Python inside a virtual environment that has exactly the pinned versions, of its own or of `base`.
pub fn ready_venv(
    python: &Path,
    venv: &Path,
    requirements: Requirements,
    base: Option<&Ready>,
) -> Result<PathBuf> {
    let inside = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    // What the environment was made from, kept inside it and written last: an interrupted installation is
    // made anew.
    let stamp = venv.join("clipseg-requirements.txt");
    // An environment that has more will do.
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed.starts_with(requirements.text)) {
        println!("using the Python environment {}", venv.display());
        return Ok(inside);
    }
    if venv.exists() && !venv.join("pyvenv.cfg").exists() {
        bail!(
            "{} is there but is not a Python environment; move it away or choose another with --venv",
            venv.display()
        );
    }
    let size = if requirements.text.contains("torch") { "several hundred MB" } else { "60 MB" };
    println!("setting up the Python environment {} ({size})", venv.display());
    execute(python, ["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), venv.as_os_str()]).context(
        "cannot make a Python environment; on Debian `apt-get install python3-venv` brings what it needs, \
         and --python chooses another Python",
    )?;
    if let Some(Ready(base)) = base {
        // A file of this kind adds the folders that it lists to the end of Python's path.
        let list = packages_of(&inside)?.join("clipseg-base.pth");
        let folder = packages_of(base)?;
        fs::write(&list, folder.display().to_string())
            .with_context(|| format!("cannot write {}", list.display()))?;
    }
    let file = Path::new(ROOT).join(requirements.file);
    let install = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--requirement"];
    execute(&inside, install.iter().map(OsStr::new).chain([file.as_os_str()]))?;
    fs::write(&stamp, requirements.text).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(inside)
}

/// The folder that a Python has its packages in.
fn packages_of(python: &Path) -> Result<PathBuf> {
    let ask = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let output = Command::new(python)
        .args(["-c", ask])
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    if !output.status.success() {
        bail!("{} cannot say where its packages are ({})", python.display(), output.status);
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Runs Python to its end; its output goes where ours goes.
fn execute(python: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
    let mut command = Command::new(python);
    command.args(arguments);
    let status =
        command.status().with_context(|| format!("cannot start {}; is it installed?", python.display()))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}
