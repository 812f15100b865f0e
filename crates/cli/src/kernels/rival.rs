//! Kernels of others, read from the layout of the Hugging Face Hub's repositories and run beside ours: on the
//! same numbers, checked against the same twins, timed by the same clocks. Their shaders are a stranger's, so
//! all of wgpu's checks stay on.

pub mod counterpart;
mod facts;
mod gpu;
mod loaded;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clipseg::{AdapterReport, Cost, Device};
use clipseg_files::shown;

use self::counterpart::Request;
use self::gpu::Gpu;
use self::loaded::Loaded;
use super::cases::Case;
use super::layout::{self, Call, Package, Program};
use super::measure::{self, Costs, Times};
use super::numbers;
use super::report::{Check, Failure, Record, Types};
use super::run::TOLERANCE;
use super::work::Work;
use crate::output;

/// What stands for a rival's kernels where costs are kept by kernel.
const KERNEL: &str = "another's";
/// A run of a stranger's kernel that takes longer is given up.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Writes our kernels as rivals of others into a folder; says what it wrote.
pub fn export(folder: &output::Folder) -> Result<String> {
    layout::export::write(folder)
}

/// Another's kernel from a folder, or ours in its place.
pub struct Rival {
    /// As it was given; none of ours.
    folder: Option<PathBuf>,
    package: Package,
}

/// What a rival made of a piece of work.
struct Outcome {
    form: String,
    /// What it was given that ours are not, or the other way round.
    note: Option<&'static str>,
    values: Vec<f32>,
    expected: Vec<f32>,
    times: Times,
    kernels: Costs,
}

impl Rival {
    /// Reads a folder in the layout whose op has a counterpart here.
    pub fn open(folder: &Path) -> Result<Self> {
        let open = || {
            let package = Package::open(folder)?;
            let id = package.id();
            ensure!(
                counterpart::IDS.contains(&id.as_str()),
                "is {}, which nothing here computes; there are counterparts of {}",
                shown(&id),
                counterpart::IDS.join(", ")
            );
            Ok(Self { folder: Some(folder.to_owned()), package })
        };
        open().with_context(|| format!("--rival {}", folder.display()))
    }

    /// Our kernels as they are exported: under the conditions of others.
    pub fn ours() -> Vec<Self> {
        layout::ours().into_iter().map(|package| Self { folder: None, package }).collect()
    }

    /// The folder, as it is shown; none of ours.
    pub fn origin(&self) -> Option<String> {
        self.folder.as_ref().map(|folder| shown(&folder.display().to_string()))
    }

    /// Whose it is.
    fn whose(&self) -> &'static str {
        if self.folder.is_some() { "another's" } else { "ours as others run" }
    }

    /// The op.
    pub fn id(&self) -> String {
        self.package.id()
    }

    /// Whether it computes what this work is of.
    pub fn computes(&self, work: Work) -> bool {
        counterpart::computes(&self.id(), work)
    }
}

/// An adapter on which rivals run, opened for them alone: our kernels go without checks, theirs do not.
pub struct Arena(Gpu);

impl Arena {
    pub fn open(adapter: &AdapterReport) -> Result<Self> {
        Gpu::open(adapter, LONGEST_WAIT).map(Self).context("a device for the kernels of others")
    }

    /// Whether a kernel runs there that does not end.
    pub fn is_stuck(&self) -> bool {
        self.0.is_stuck()
    }

    /// What a rival makes of a case that it computes: a row of the report, and its kernels with what each
    /// costs.
    pub fn row(
        &self,
        rival: &Rival,
        case: &Case,
        processor: &Device,
        budget: Duration,
    ) -> Result<(Record, Costs), Box<Failure>> {
        let work = case.work;
        let outcome = self.measure(rival, work, processor, budget).map_err(|error| Failure {
            op: work.op().to_owned(),
            shape: work.shape(),
            configuration: format!("{} in {}", rival.id(), rival.origin().unwrap_or_default()),
            reason: format!("{error:#}"),
        })?;
        let f32 = || "f32".to_owned();
        let cost = outcome.kernels.iter().fold(Cost::default(), |sum, (_, cost)| sum + *cost);
        let note = outcome.note.map(|note| format!(", {note}")).unwrap_or_default();
        let record = Record {
            op: work.op().to_owned(),
            shape: work.shape(),
            layer: case.layer.clone(),
            source: case.source.clone(),
            kernels: vec![outcome.form],
            configuration: format!("{}, with all of wgpu's checks{note}", rival.whose()),
            origin: rival.origin(),
            is_default: false,
            types: Types {
                input: f32(),
                weight: work.has_weights().then(f32),
                output: f32(),
                // Nothing here reads another's shader.
                accumulator: if rival.origin().is_some() { "not known" } else { "f32" }.to_owned(),
                on_matrix_units: false,
            },
            flops: cost.flops,
            bytes: cost.bytes,
            flops_formula: work.flops_formula().to_owned(),
            bytes_formula: work.bytes_formula().map(str::to_owned),
            gpu: outcome.times.gpu,
            wall: outcome.times.wall,
            check: Check::new(numbers::worst(&outcome.values, &outcome.expected), TOLERANCE),
            // When all is measured.
            bound: None,
        };
        Ok((record, outcome.kernels))
    }

    /// Runs a rival on a piece of work and times it.
    fn measure(&self, rival: &Rival, work: Work, processor: &Device, budget: Duration) -> Result<Outcome> {
        let package = &rival.package;
        let Request { operands, output, output_shape, attributes, expected, note } =
            counterpart::request(&package.id(), work, processor)?;
        let manifest = &package.manifest;
        // Manifests name a port as they like and say which of ONNX's it is.
        let find = |ports: &[(String, layout::Port)], onnx: &str| {
            let is_named = |(name, port): &&(String, layout::Port)| {
                port.onnx.as_deref().unwrap_or(name).eq_ignore_ascii_case(onnx)
            };
            ports.iter().find(is_named).map(|(name, _)| name.clone())
        };
        let mut inputs = Vec::new();
        for operand in &operands {
            let name = find(&manifest.inputs, operand.onnx)
                .with_context(|| format!("no input of its manifest is {}", operand.onnx))?;
            inputs.push((name, operand.shape.clone()));
        }
        let output = find(&manifest.outputs, output)
            .with_context(|| format!("no output of its manifest is {output}"))?;
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let program = Program::new(package, self.0.facts(), &Call { inputs, attributes })?;
        let values: Vec<_> = operands.iter().map(|operand| &operand.values[..]).collect();
        let elements = program.tensors.iter().find(|(name, _)| *name == output).map(|(_, shape)| shape);
        ensure!(
            elements.is_some_and(|shape| shape.iter().product::<usize>() == expected.len()),
            "by its manifest {} is of the shape {elements:?}, not of {output_shape:?}",
            shown(&output)
        );
        let loaded = Loaded::new(&self.0, &program, &values)?;
        // Of the second run: one that leaves something behind may be right once.
        loaded.result(&output)?;
        let result = loaded.result(&output)?;
        let bytes = 4 * (values.iter().map(|values| values.len()).sum::<usize>() + result.len());
        let cost = Cost { flops: counterpart::flops(work, processor)?, bytes: bytes as u64 };
        let times = measure::time(loaded, |loaded, repeats| Ok(loaded.repeated(repeats)), budget)?;
        Ok(Outcome {
            form: format!("{} ({})", package.id(), shown(&program.variant)),
            note,
            values: result,
            expected,
            times,
            kernels: vec![(KERNEL, cost)],
        })
    }
}
