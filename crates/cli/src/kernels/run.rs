//! Measures all forms of all cases on an adapter.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use clipseg::tensor::DType;
use clipseg::wgpu::DeviceType;
use clipseg::{AdapterChoice, AdapterReport, Device, DeviceOptions, MatrixUnits, Peaks};

use super::cases::Case;
use super::configurations::{self, Configuration};
use super::measure::{self, Costs, Recorded, is_on_matrix_units};
use super::report::{Adapter, Ceilings, Check, Engine, FORMAT, Failure, LeftOut, Record, Report, Types};
use super::rival::{Arena, Rival};
use super::work::Form;
use super::{clock, numbers, peaks};
use crate::devices;
use crate::progress::Progress;

/// How far a result may be from the processor's, as a share of the largest: as far as a step may be from its
/// twin in `devices --check`.
pub const TOLERANCE: f64 = 1e-4;
/// As much more where values are rounded to f16 on the way.
const F16_STEP: f64 = 1.0 / 1024.0;

/// One run of a form that takes longer is not waited for: on software drivers some would take minutes.
const LONGEST_RUN: f64 = 3.0;

/// What to measure.
pub struct Plan<'a> {
    pub adapter: &'a str,
    pub matrix_units: MatrixUnits,
    pub cases: &'a [Case],
    /// Kernels of others, to be run beside ours.
    pub rivals: &'a [Rival],
    /// How long each form is timed by each clock.
    pub budget: Duration,
}

/// Measures everything.
pub fn measure(plan: &Plan<'_>) -> Result<Report> {
    let found = configurations::find(plan.adapter)?;
    let configurations = configurations::open(plan.adapter, &found, plan.matrix_units)?;
    let arena = if plan.rivals.is_empty() { None } else { Some(Arena::open(&found)?) };
    let ours = if plan.rivals.is_empty() { Vec::new() } else { Rival::ours() };
    let processor = Device::open(&DeviceOptions {
        adapter: AdapterChoice::Processor,
        precision: clipseg::Precision::F32,
        ..DeviceOptions::default()
    })?;
    let progress = Progress::start();
    progress.step("what the adapter reaches at best");
    let before = measured_peaks(&found, &configurations)?;
    let mut measurement = Measurement::new(plan);
    for (place, case) in plan.cases.iter().enumerate() {
        let what = format!("{}, {}", case.work.op(), case.work.shape());
        progress.step(format!("{} of {}: {what}", place + 1, plan.cases.len()));
        measurement.case(case, &configurations, &processor)?;
        if let Some(arena) = &arena {
            let rivals: Vec<_> = plan.rivals.iter().filter(|rival| rival.computes(case.work)).collect();
            // Ours under the same conditions, where there is something to hold against it.
            let own = ours.iter().filter(|own| !rivals.is_empty() && own.computes(case.work));
            for rival in own.chain(rivals.iter().copied()) {
                measurement.rival(case, rival, arena, &processor);
            }
        }
    }
    if arena.as_ref().is_some_and(Arena::is_stuck) {
        // To close it would wait for what does not end.
        std::mem::forget(arena);
    }
    progress.step("what the adapter reaches at best, once more");
    let Measurement { mut records, costs, mut failures, left_out, .. } = measurement;
    let peaks = match measured_peaks(&found, &configurations) {
        Ok(after) => before.zip(after).map(|(before, after)| peaks::better(&before, &after)),
        // What was measured stays, also where the device was lost at last.
        Err(error) => {
            failures.push(Failure {
                op: "ceilings".to_owned(),
                shape: "once more".to_owned(),
                configuration: String::new(),
                reason: error.to_string(),
            });
            before
        }
    };
    if let Some(peaks) = &peaks {
        for (record, kernels) in records.iter_mut().zip(&costs) {
            record.bound = Some(measure::bound(kernels, peaks));
        }
    }
    Ok(Report {
        format: FORMAT.to_owned(),
        engine: engine(),
        adapter: adapter(&found),
        date: clock::now(),
        seconds_per_form: plan.budget.as_secs_f64(),
        ceilings: peaks.as_ref().map(Ceilings::from),
        records,
        failures,
        left_out,
    })
}

/// The adapter's ceilings, where it has a clock: measured on the device that can do the most.
fn measured_peaks(adapter: &AdapterReport, configurations: &[Configuration]) -> Result<Option<Peaks>> {
    let most = configurations.iter().max_by_key(|configuration| configuration.is_for_matrix_units);
    match most.filter(|_| adapter.timestamps) {
        Some(configuration) => Ok(Some(configuration.device.measure_peaks()?)),
        None => Ok(None),
    }
}

/// What runs: this program.
pub fn engine() -> Engine {
    let sources = clipseg_shaders::kernels::ALL.iter().flat_map(|kernel| kernel.source.bytes());
    // The one who builds or runs it says which commit it is of; `cargo xtask kernels` does.
    let commit = std::env::var("CLIPSEG_COMMIT").ok().or(option_env!("CLIPSEG_COMMIT").map(str::to_owned));
    Engine {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit.filter(|commit| !commit.is_empty()),
        kernels: format!("{:016x}", clipseg::tensor::checksum(sources)),
    }
}

fn adapter(report: &AdapterReport) -> Adapter {
    let info = &report.info;
    Adapter {
        name: info.name.clone(),
        driver: info.driver.clone(),
        driver_info: info.driver_info.clone(),
        backend: format!("{:?}", info.backend),
        kind: devices::kind(info.device_type).to_owned(),
        is_software: info.device_type == DeviceType::Cpu,
        has_timestamps: report.timestamps,
        subgroup_lanes: [info.subgroup_min_size, info.subgroup_max_size],
    }
}

/// What was measured so far.
struct Measurement<'a> {
    plan: &'a Plan<'a>,
    /// Forms that were measured: another configuration may come to the same.
    known: HashSet<String>,
    records: Vec<Record>,
    /// The kernels of each of the records, with what each costs.
    costs: Vec<Costs>,
    failures: Vec<Failure>,
    left_out: Vec<LeftOut>,
}

impl<'a> Measurement<'a> {
    fn new(plan: &'a Plan<'a>) -> Self {
        Self {
            plan,
            known: HashSet::new(),
            records: Vec::new(),
            costs: Vec::new(),
            failures: Vec::new(),
            left_out: Vec::new(),
        }
    }

    fn case(&mut self, case: &Case, all: &[Configuration], processor: &Device) -> Result<()> {
        let expected = measure::answer(case.work, processor)?;
        for configuration in all {
            if configuration.is_for_weights && !case.work.has_weights() {
                continue;
            }
            if let Err(error) = self.configuration(case, configuration, &expected) {
                self.failures.push(Failure {
                    op: case.work.op().to_owned(),
                    shape: case.work.shape(),
                    configuration: configuration.name.clone(),
                    reason: format!("{error:#}"),
                });
            }
        }
        Ok(())
    }

    fn configuration(&mut self, case: &Case, own: &Configuration, expected: &[f32]) -> Result<()> {
        for form in case.work.forms(&own.device, own.activations)? {
            let single = Recorded::new(&own.device, &form, 1)?;
            let kernels: Vec<_> = measure::kernels(&single).iter().map(|(name, _)| *name).collect();
            let on_matrix_units = kernels.iter().any(|kernel| is_on_matrix_units(kernel));
            if own.is_for_matrix_units && !on_matrix_units {
                continue;
            }
            let types = types(&form, on_matrix_units);
            let key = format!("{} {} {kernels:?} {types:?}", case.work.op(), case.work.shape());
            if !self.known.insert(key) {
                continue;
            }
            let flops = measure::kernels(&single).iter().map(|(_, cost)| cost.flops).sum();
            if let Some(estimated_seconds) = self.estimate(&kernels, &types, flops)
                && estimated_seconds > LONGEST_RUN
            {
                self.left_out.push(LeftOut {
                    op: case.work.op().to_owned(),
                    shape: case.work.shape(),
                    form: kernels.join(" + "),
                    configuration: own.name.clone(),
                    estimated_seconds,
                });
                continue;
            }
            let measured = measure::measure(&own.device, &form, single, self.plan.budget)?;
            let rounds = own.activations == DType::F16;
            let tolerance = TOLERANCE + if rounds { F16_STEP } else { 0.0 };
            let cost = measured.cost();
            self.records.push(Record {
                op: case.work.op().to_owned(),
                shape: case.work.shape(),
                layer: case.layer.clone(),
                source: case.source.clone(),
                kernels: kernels.into_iter().map(str::to_owned).collect(),
                configuration: own.name.clone(),
                origin: None,
                is_default: form.is_default && own.is_automatic,
                types,
                flops: cost.flops,
                bytes: cost.bytes,
                flops_formula: case.work.flops_formula().to_owned(),
                bytes_formula: case.work.bytes_formula().map(str::to_owned),
                gpu: measured.times.gpu,
                wall: measured.times.wall,
                check: Check::new(numbers::worst(&measured.values, expected), tolerance),
                // When all is measured.
                bound: None,
            });
            self.costs.push(measured.kernels);
        }
        Ok(())
    }

    /// Runs another's kernel, or ours in its place, on a case that it computes.
    fn rival(&mut self, case: &Case, rival: &Rival, arena: &Arena, processor: &Device) {
        match arena.row(rival, case, processor, self.plan.budget) {
            Ok((record, kernels)) => {
                self.records.push(record);
                self.costs.push(kernels);
            }
            Err(failure) => self.failures.push(*failure),
        }
    }

    /// What a run of so many operations would take by the rate of the same kernels at another shape, the best
    /// of those that were measured.
    fn estimate(&self, kernels: &[&str], types: &Types, flops: u64) -> Option<f64> {
        let same = |record: &&Record| record.types == *types && record.kernels == kernels;
        let rates = self.records.iter().filter(same).map(Record::flops_per_second);
        let best = rates.filter(|rate| rate.is_finite()).fold(0.0, f64::max);
        (best > 0.0).then(|| flops as f64 / best)
    }
}

fn types(form: &Form, on_matrix_units: bool) -> Types {
    let name = |dtype| if dtype == DType::F16 { "f16" } else { "f32" }.to_owned();
    Types {
        input: name(form.input),
        weight: form.weight.map(name),
        output: name(form.output),
        // Of every kernel: those that read f16 values multiply in f32, or on matrix units, and add in f32.
        accumulator: "f32".to_owned(),
        on_matrix_units,
    }
}

#[cfg(test)]
mod tests {
    use super::super::work::Work;
    use super::*;

    fn measured(work: Work) -> Report {
        let case = Case { work, layer: "a tower".to_owned(), source: "a test".to_owned() };
        let plan = Plan {
            adapter: "driver",
            matrix_units: MatrixUnits::Known,
            cases: &[case],
            rivals: &[],
            budget: Duration::from_millis(1),
        };
        measure(&plan).expect("this test needs an adapter")
    }

    #[test]
    fn a_product_is_measured_and_checked_in_every_form() {
        let report = measured(Work::Product { m: 37, n: 64, k: 36 });
        assert!(report.failures.is_empty() && report.wrong().next().is_none(), "{report:?}");
        let forms: HashSet<_> = report.records.iter().map(Record::form).collect();
        for form in ["matmul_tile", "matmul_tile_vec4", "matmul_tile_dot", "matmul_tile_packed_f16"] {
            assert!(forms.contains(form), "{form} is not in {forms:?}");
        }
        assert_eq!(forms.len(), report.records.len(), "no form twice");
        assert!(report.records.iter().any(|record| record.is_default));
        for record in &report.records {
            assert!(
                record.wall.median_seconds > 0.0
                    && record.seconds() <= record.gpu.unwrap_or(record.wall).p95_seconds
            );
            assert_eq!(record.flops, 2 * 37 * 64 * 36);
        }
    }

    #[test]
    fn what_would_take_too_long_is_left_out() {
        let plan = Plan {
            adapter: "",
            matrix_units: MatrixUnits::Off,
            cases: &[],
            rivals: &[],
            budget: Duration::ZERO,
        };
        let mut measurement = Measurement::new(&plan);
        let slow = super::super::report::tests::record("product", "M 4", "matmul_tile", 2.0);
        let types = slow.types.clone();
        measurement.records.push(slow);
        // Two GFLOP took two seconds.
        assert_eq!(measurement.estimate(&["matmul_tile"], &types, 20_000_000_000), Some(20.0));
        assert_eq!(measurement.estimate(&["matmul_skinny"], &types, 20_000_000_000), None);
    }

    /// Records of an op beside what is expected of it, changed by `change`.
    fn checked(change: fn(&mut Vec<f32>)) -> Vec<Record> {
        let found = configurations::find("driver").expect("this test needs an adapter");
        let all = configurations::open("driver", &found, MatrixUnits::Off).unwrap();
        let plan = Plan {
            adapter: "driver",
            matrix_units: MatrixUnits::Off,
            cases: &[],
            rivals: &[],
            budget: Duration::from_millis(1),
        };
        let mut measurement = Measurement::new(&plan);
        let work = Work::Product { m: 9, n: 32, k: 8 };
        let case = Case { work, layer: String::new(), source: String::new() };
        let options = DeviceOptions { adapter: AdapterChoice::Processor, ..DeviceOptions::default() };
        let processor = Device::open(&options).unwrap();
        let mut expected = measure::answer(work, &processor).unwrap();
        change(&mut expected);
        for own in &all {
            measurement.configuration(&case, own, &expected).unwrap();
        }
        measurement.records
    }

    #[test]
    fn a_wrong_answer_is_said_to_be_wrong() {
        let is_right = |record: &Record| record.check.is_right;
        assert!(checked(|_| {}).iter().all(is_right));
        // One value of all, by two hundredths of the largest.
        assert!(!checked(|values| values[100] += 0.1).iter().any(is_right));
        assert!(!checked(|values| values[0] = f32::NAN).iter().any(is_right));
        assert!(!checked(|values| values.truncate(8)).iter().any(is_right));
    }
}
