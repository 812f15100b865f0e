//! `clipseg kernels`.

mod cases;
mod clock;
mod compare;
mod configurations;
#[cfg(test)]
mod formulas;
mod html;
#[cfg(feature = "webgpu-kernels")]
mod layout;
mod measure;
mod numbers;
mod peaks;
mod report;
#[cfg_attr(not(feature = "webgpu-kernels"), path = "kernels/without_rivals.rs")]
mod rival;
mod run;
mod standings;
mod work;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clipseg::MatrixUnits;
use clipseg_files::shown;

pub use self::html::format;
pub use self::measure::is_on_matrix_units;
pub use self::report::Ceilings;
use self::report::{FORMAT, Report};
use self::rival::Rival;
use self::run::Plan;
use crate::inputs::matrix_units_parser;
use crate::output;

/// The largest report, or list of shapes, that is read.
const MOST_BYTES: u64 = 64 << 20;

/// Measure every kernel that an adapter runs, form by form, check its results, and write a page of it.
///
/// At the shapes of the published model, or those of --shapes, each op runs in every form that the adapter
/// takes: families of kernels, weights in f32 and f16, matrix units, all kernels of the product. Written are
/// report.html, which needs nothing else, and report.json. Exits with 1 if a form gives wrong numbers.
///
/// --rival runs another's kernel beside ours, from a repository in the layout of
/// huggingface.co/webgpu-kernels, and --export writes ours in that layout.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder for report.html and report.json; it is made if needed.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["compare", "export"])]
    report: Option<PathBuf>,
    /// Compare two reports: how much of its own best each adapter has by each form, and, of one adapter, how
    /// much longer the second takes than the first.
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"], conflicts_with_all = ["report", "shapes", "only"])]
    compare: Option<Vec<PathBuf>>,
    /// Measure nothing: write the page anew from a report.json, also of another machine.
    #[arg(long, value_name = "report.json", conflicts_with_all = ["compare", "shapes", "only"])]
    from: Option<PathBuf>,
    /// The adapter: its number in `clipseg devices`, part of its name, or `driver` for the best that a driver
    /// offers.
    #[arg(long, value_name = "NAME|INDEX|driver", default_value = "driver")]
    adapter: String,
    /// Whether kernels on matrix units are measured: never, where the driver passed our tests (known), or
    /// wherever there are some (any).
    #[arg(long, value_name = "WHERE", default_value = "known", value_parser = matrix_units_parser())]
    matrix_units: MatrixUnits,
    /// Measure the products that this JSON file lists instead of the model's ops; `published` are those of
    /// ViT, CLIP, DINOv2, SAM, Whisper and Llama that come with the command.
    #[arg(long, value_name = "FILE|published")]
    shapes: Option<PathBuf>,
    /// Run another's kernel beside ours, on the same numbers and by the same clocks: a repository in the
    /// layout of huggingface.co/webgpu-kernels, or its build/webgpu. Can be repeated. All of wgpu's checks
    /// are on for it.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["compare", "from"])]
    rival: Vec<PathBuf>,
    /// Measure nothing: write our kernels in that layout, a folder per op. It is made if needed.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["report", "compare", "from", "shapes", "only", "rival"])]
    export: Option<PathBuf>,
    /// Only ops with this in their name, such as attention.
    #[arg(long, value_name = "OP")]
    only: Option<String>,
    /// Seconds for which each form is timed by each clock, in 200 submissions at most; slow ones run one to
    /// three times.
    #[arg(long, default_value_t = 0.05, value_parser = seconds, allow_negative_numbers = true)]
    seconds: f64,
}

const EXAMPLES: &str = "\
Examples:
  clipseg kernels --report kernels
  clipseg kernels --report attention --only attention --seconds 0.5
  clipseg kernels --report published --shapes published --adapter nvidia
  clipseg kernels --report page --from sent/report.json
  clipseg kernels --compare before/report.json after/report.json
  clipseg kernels --report rivals --only product --rival webgpu-kernels/ai.onnx.MatMul
  clipseg kernels --export ours
  clipseg kernels --report round --only softmax --rival ours/ai.onnx.Softmax";

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    if (0.001..=60.0).contains(&seconds) { Ok(seconds) } else { Err("expected 0.001 to 60".to_owned()) }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some([a, b]) = arguments.compare.as_deref() {
        return output::print(&compare::text([&read("--compare", a)?, &read("--compare", b)?]));
    }
    if let Some(folder) = &arguments.export {
        let folder = output::Folder::prepare(folder, "--export")?;
        return output::print(&rival::export(&folder)?);
    }
    let folder = arguments.report.as_deref().context("--report DIR: name a folder for the report")?;
    let folder = output::Folder::prepare(folder, "--report")?;
    expect_own_report(folder.path())?;
    if let Some(file) = &arguments.from {
        return write(&folder, &read("--from", file)?);
    }
    let mut cases = match &arguments.shapes {
        Some(file) => cases::read(file)?,
        None => cases::own(),
    };
    if let Some(only) = &arguments.only {
        cases.retain(|case| case.work.op().to_lowercase().contains(&only.to_lowercase()));
        ensure!(!cases.is_empty(), "--only {only}: there is no such op; see report.html for their names");
    }
    let rivals = arguments.rival.iter().map(|folder| Rival::open(folder)).collect::<Result<Vec<_>>>()?;
    for rival in &rivals {
        let has_case = cases.iter().any(|case| rival.computes(case.work));
        ensure!(
            has_case,
            "--rival {}: is {}, and none of what is measured here is that; leave out --only and --shapes",
            rival.origin().unwrap_or_default(),
            rival.id()
        );
    }
    let report = run::measure(&Plan {
        adapter: &arguments.adapter,
        matrix_units: arguments.matrix_units,
        cases: &cases,
        rivals: &rivals,
        budget: Duration::from_secs_f64(arguments.seconds),
    })?;
    write(&folder, &report)?;
    let (all, wrong, failed) = (report.records.len(), report.wrong().count(), report.failures.len());
    ensure!(
        wrong + failed == 0,
        "of {all} forms {wrong} give wrong numbers and {failed} could not be run; report.html says which"
    );
    Ok(())
}

/// Refuses a folder whose report is not this command's: it would be overwritten.
fn expect_own_report(folder: &Path) -> Result<()> {
    let (page, data) = (folder.join("report.html"), folder.join("report.json"));
    let is_ours = || {
        let text = clipseg_files::read_text(&data, MOST_BYTES).ok()?;
        let report: serde_json::Value = serde_json::from_str(&text).ok()?;
        report["format"].as_str()?.starts_with("clipseg-kernels-").then_some(())
    };
    let has_one = [&page, &data].into_iter().any(|file| file.symlink_metadata().is_ok());
    ensure!(
        !has_one || is_ours().is_some(),
        "--report {}: has a report.html or report.json that `clipseg kernels` has not written; name another folder",
        shown(&folder.display().to_string())
    );
    Ok(())
}

/// Writes both files, and says so.
fn write(folder: &output::Folder, report: &Report) -> Result<()> {
    let page = folder.write("report.html", html::page(report).as_bytes())?;
    let data = folder.write("report.json", (serde_json::to_string_pretty(report)? + "\n").as_bytes())?;
    output::print(&format!(
        "{} forms of {} ops and shapes on {}: {} give wrong numbers, {} could not be run, {} would take too long\nwrote {} and {}\n",
        report.records.len(),
        report.groups().len(),
        shown(&report.adapter.name),
        report.wrong().count(),
        report.failures.len(),
        report.left_out.len(),
        page.display(),
        data.display()
    ))
}

/// Reads a report; `flag` is what the user gave it by.
fn read(flag: &str, file: &Path) -> Result<Report> {
    let shown = file.display();
    let text = clipseg_files::read_text(file, MOST_BYTES)
        .with_context(|| format!("{flag} {shown}: cannot read it; give the report.json of an earlier run"))?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{flag} {shown}: is not a report.json of `clipseg kernels`"))?;
    ensure!(
        report.format == FORMAT,
        "{flag} {shown}: is of the format {:?}, not {FORMAT:?}; measure again with this version",
        report.format
    );
    Ok(report)
}
