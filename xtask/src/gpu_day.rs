//! `cargo xtask gpu-day`: all that is worth knowing of a machine with a GPU, by one command that needs
//! neither a compiler nor a network, and as a folder that can be sent back.

mod archive;
mod steps;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clipseg::AdapterReport;
use clipseg::wgpu::DeviceType;

use self::steps::{Machine, Program, Step};
use crate::{command, synth};

/// What `cargo xtask gpu-day` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask gpu-day --out gpu-day
  cargo xtask gpu-day --out gpu-day --adapter nvidia --quick
  xtask-engine gpu-day --out gpu-day     without a toolchain: both programs in one folder, fixtures/ in it or above it

To take it to a machine without a toolchain, which has no commit to ask for:
  CLIPSEG_COMMIT=$(git rev-parse --short=12 HEAD) cargo build --release -p clipseg-cli -p xtask-engine
and copy clipseg and xtask-engine from target/release, and fixtures/, into one folder.

Every step writes what it prints to a file of its own, and at the end all are packed into gpu-day.zip beside the folder; one that fails or takes too long does not keep the others from running.
Exits with 1 when a step failed.")]
pub struct GpuDayArguments {
    /// The folder for the results; it is made, and is to be empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The adapter's name or number, as `clipseg devices` lists them [default: the best that a driver offers]
    #[arg(long, value_name = "NAME|INDEX", default_value = "driver")]
    adapter: String,
    /// Leave out the model of the published size, which takes 600 MB in target/full
    #[arg(long)]
    quick: bool,
    /// End a step that takes longer
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    longest: u64,
}

/// Runs all steps, and says which failed.
pub fn run(arguments: &GpuDayArguments) -> Result<()> {
    let out = std::path::absolute(&arguments.out)?;
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let is_empty = fs::read_dir(&out)?.next().is_none();
    ensure!(is_empty, "--out {}: the folder is not empty; name another", out.display());
    // After the whole name, which may have dots in it.
    let mut packed = out.clone().into_os_string();
    packed.push(".zip");
    let packed = PathBuf::from(packed);
    ensure!(!packed.exists(), "--out {}: {} is there already; name another", out.display(), packed.display());
    let report = find(&arguments.adapter)?;
    let description = clipseg::describe(&report.info);
    println!("{description}");
    let clipseg = command::beside_this_program("clipseg")?;
    let tasks = std::env::current_exe().context("where this program lies")?;
    let model = if arguments.quick { None } else { Some(synth::given_or_full_size(None)?) };

    // The subgroup kernels, which benches take on a software adapter, use none.
    let has_matrix_units =
        report.matrix_units.is_some() && report.automatic == clipseg::KernelFamily::Workgroup;

    let machine = Machine {
        adapter: &arguments.adapter,
        has_matrix_units,
        is_software: report.info.device_type == DeviceType::Cpu,
    };
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for (number, step) in steps::all(&machine, model.as_deref(), &out).iter().enumerate() {
        let program = match step.program {
            Program::Clipseg => &clipseg,
            Program::Tasks => &tasks,
        };
        let name = format!("{:02}-{}.txt", number + 1, step.name);
        let start = Instant::now();
        let outcome = print_to(&out.join(&name), program, step, Duration::from_secs(arguments.longest));
        let seconds = start.elapsed().as_secs_f64();
        let result = match &outcome {
            Ok(()) => "ok".to_owned(),
            Err(error) => format!("FAILED: {error:#}"),
        };
        println!("{:<24} {seconds:>7.1} s  {result}", step.name);
        if outcome.is_err() {
            failed.push(step.name.clone());
        }
        rows.push(format!("- [{}]({name}): {seconds:.1} s, {result}\n  `{}`", step.name, step.line()));
        // After each step: what was measured stays when the machine does not.
        summarize(&out, &description, &rows)?;
    }
    archive::pack(&out, &packed)?;
    println!("\nwrote {} and {}", out.display(), packed.display());
    if !failed.is_empty() {
        bail!("{} of {} steps failed: {}", failed.len(), rows.len(), failed.join(", "));
    }
    Ok(())
}

/// The adapter that the steps will run on.
fn find(adapter: &str) -> Result<AdapterReport> {
    let Ok(choice) = adapter.parse();
    let device = clipseg::Device::open(&clipseg::DeviceOptions { adapter: choice, ..Default::default() })
        .with_context(|| format!("--adapter {adapter}"))?;
    ensure!(!device.is_processor(), "--adapter {adapter}: the processor is not a GPU; name an adapter");
    pollster::block_on(device.adapter_report()).context("the adapter is no longer there")
}

/// Runs a step with what it prints in a file.
fn print_to(file: &Path, program: &Path, step: &Step, longest: Duration) -> Result<()> {
    let output = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let errors = output.try_clone()?;
    let mut child = Command::new(program)
        .args(&step.arguments)
        .envs(command::variables())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "{status}{}", last_line(file));
            return Ok(());
        }
        if start.elapsed() > longest {
            child.kill()?;
            child.wait()?;
            bail!("ended after {} s; --longest gives a step more", longest.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a step said last, after a colon: mostly why it failed.
fn last_line(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map(|line| format!(": {}", line.trim())).unwrap_or_default()
}

fn summarize(out: &Path, description: &str, rows: &[String]) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let commit =
        command::commit().map_or("a commit that is not known".to_owned(), |id| format!("commit {id}"));
    let head = format!("# {description}\n\nclipseg {version}, {commit}, {system}");
    let page = match out.join("report.html").is_file() {
        true => "Every kernel in every form: [report.html](report.html), and as data report.json.\n\n",
        false => "",
    };
    let text = format!("{head}\n\n{page}{}\n", rows.join("\n"));
    let file = out.join("summary.md");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn outcome_of(script: &str, longest: Duration) -> (Result<()>, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("printed.txt");
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let step = Step { name: "a step".to_owned(), program: Program::Clipseg, arguments };
        let outcome = print_to(&file, Path::new("sh"), &step, longest);
        (outcome, fs::read_to_string(file).expect("what it printed"))
    }

    #[test]
    fn what_a_step_prints_is_kept_however_it_ends() {
        let minute = Duration::from_secs(60);
        let (outcome, printed) = outcome_of("echo fine; echo words >&2", minute);
        assert!(outcome.is_ok() && printed == "fine\nwords\n", "{printed}");
        let (outcome, printed) = outcome_of("echo before; exit 3", minute);
        let told = outcome.expect_err("it failed").to_string();
        assert!(told.contains("3: before") && printed == "before\n", "{told}");
        let (outcome, printed) = outcome_of("echo before; exec sleep 60", Duration::from_millis(300));
        let told = outcome.expect_err("it took too long").to_string();
        assert!(
            told.contains("ended after") && told.contains("--longest") && printed == "before\n",
            "{told}"
        );
    }

    #[test]
    fn the_summary_names_every_step_and_the_adapter() {
        let folder = tempfile::tempdir().expect("a folder");
        let row = "- check: 1.0 s, FAILED: exit status: 1".to_owned();
        summarize(folder.path(), "A Card (Vulkan)", &[row]).expect("a summary");
        let text = fs::read_to_string(folder.path().join("summary.md")).expect("a summary");
        assert!(text.starts_with("# A Card (Vulkan)\n") && text.contains("FAILED: exit status: 1"), "{text}");
        // This tree's.
        let commit = command::commit().expect("a commit");
        assert!(text.contains(&format!("commit {commit}")) && !text.contains("report.html"), "{text}");
    }
}
