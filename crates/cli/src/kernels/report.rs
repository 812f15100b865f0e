//! What was measured, as it stands in report.json.

use clipseg::Peaks;
use serde::{Deserialize, Serialize};

/// What the file says that it is; another number is of files that this command cannot read.
pub const FORMAT: &str = "clipseg-kernels-1";

/// Everything that was measured on one adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub format: String,
    pub engine: Engine,
    pub adapter: Adapter,
    /// In UTC, as `2026-11-26T17:45:00Z`.
    pub date: String,
    /// Seconds for which a form was timed by each clock.
    pub seconds_per_form: f64,
    /// None where the adapter has no timestamps to measure them with.
    pub ceilings: Option<Ceilings>,
    pub records: Vec<Record>,
    /// Forms that could not be run.
    pub failures: Vec<Failure>,
    /// Forms that were not run, as one run would take too long.
    pub left_out: Vec<LeftOut>,
}

/// What ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    pub version: String,
    /// None where nobody said which it is.
    pub commit: Option<String>,
    /// A checksum of all kernels' text: two reports with the same one are of the same kernels.
    pub kernels: String,
}

/// What it ran on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    pub name: String,
    pub driver: String,
    pub driver_info: String,
    pub backend: String,
    pub kind: String,
    /// A driver that computes on the processor: its figures say nothing of a GPU.
    pub is_software: bool,
    pub has_timestamps: bool,
    /// The least and the most lanes of a subgroup.
    pub subgroup_lanes: [u32; 2],
}

/// What the adapter reaches at best, measured, per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    pub f32_flops: f64,
    pub f16_flops: Option<f64>,
    pub matrix_flops: Option<f64>,
    pub memory: Vec<Memory>,
    pub workgroup_memory: f64,
    pub dispatch_seconds: f64,
    pub submit_seconds: f64,
}

/// Bytes per second of a buffer of so many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub bytes: u64,
    pub read: f64,
    pub write: f64,
    pub copy: f64,
}

/// A form of an op at a shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub op: String,
    pub shape: String,
    /// The model and layer that the shape is of, and where it is written down.
    pub layer: String,
    pub source: String,
    /// The kernels of one run, in order.
    pub kernels: Vec<String>,
    /// What the device was opened with: the family of kernels, how weights are stored, matrix units.
    pub configuration: String,
    /// The folder that the kernel is from, where it is another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Whether the engine takes this form by itself when it is configured so.
    pub is_default: bool,
    pub types: Types,
    pub flops: u64,
    pub bytes: u64,
    pub flops_formula: String,
    pub bytes_formula: Option<String>,
    /// By the adapter's clock; none where it has none, or none that is fine enough.
    pub gpu: Option<Spread>,
    /// By the host's clock.
    pub wall: Spread,
    pub check: Check,
    /// What bounds it on this adapter; none without ceilings.
    pub bound: Option<Bound>,
}

/// What numbers are stored as, and added up in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Types {
    pub input: String,
    pub weight: Option<String>,
    pub output: String,
    pub accumulator: String,
    /// Whether matrix units multiply.
    pub on_matrix_units: bool,
}

/// Seconds of one run of an op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub runs: usize,
    pub median_seconds: f64,
    /// 95 of 100 runs take no longer.
    pub p95_seconds: f64,
    pub min_seconds: f64,
}

/// The result beside that of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// How far the worst value is away, as a share of the largest; none where it is not a number, or there
    /// are too many or too few.
    pub worst: Option<f64>,
    /// How far it may be.
    pub tolerance: f64,
    pub is_right: bool,
}

/// The ceiling above a form.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// What its operations or its bytes take at least at the measured rates.
    pub least_seconds: f64,
    pub by: Limit,
}

/// What a kernel cannot be faster than.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    Compute,
    Memory,
}

/// A form that was not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    pub op: String,
    pub shape: String,
    pub form: String,
    pub configuration: String,
    /// What one run would take, by what the form made of another shape.
    pub estimated_seconds: f64,
}

/// A form that could not be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub op: String,
    pub shape: String,
    pub configuration: String,
    pub reason: String,
}

impl Spread {
    /// Of at least one run.
    pub fn of(seconds: &[f64]) -> Option<Self> {
        let mut seconds = seconds.to_vec();
        seconds.sort_by(f64::total_cmp);
        let (runs, &min_seconds) = (seconds.len(), seconds.first()?);
        let rank = (runs * 95).div_ceil(100) - 1;
        let median_seconds = (seconds[runs / 2] + seconds[(runs - 1) / 2]) / 2.0;
        Some(Self { runs, median_seconds, p95_seconds: seconds[rank], min_seconds })
    }
}

impl Check {
    pub fn new(worst: Option<f64>, tolerance: f64) -> Self {
        Self { worst, tolerance, is_right: worst.is_some_and(|worst| worst <= tolerance) }
    }
}

impl From<&Peaks> for Ceilings {
    fn from(peaks: &Peaks) -> Self {
        let memory = peaks.memory.iter().map(|rates| Memory {
            bytes: rates.bytes,
            read: rates.read,
            write: rates.write,
            copy: rates.copy,
        });
        Self {
            f32_flops: peaks.f32_flops,
            f16_flops: peaks.f16_flops,
            matrix_flops: peaks.matrix_flops,
            memory: memory.collect(),
            workgroup_memory: peaks.workgroup_memory,
            dispatch_seconds: peaks.dispatch_seconds,
            submit_seconds: peaks.submit_seconds,
        }
    }
}

impl Adapter {
    /// The clock that figures are of where there is a choice.
    pub fn clock(&self) -> &'static str {
        if self.has_timestamps { "the adapter's timestamps" } else { "wall time; it offers no timestamps" }
    }
}

impl Record {
    /// The time that counts: the adapter's own, or the host's where it has none.
    pub fn seconds(&self) -> f64 {
        self.gpu.unwrap_or(self.wall).median_seconds
    }

    /// The form's name.
    pub fn form(&self) -> String {
        self.kernels.join(" + ")
    }

    /// Whether weights, or what takes their place, are in 16 bits: forms are compared with others of the
    /// same.
    pub fn is_f16(&self) -> bool {
        let Types { input, weight, output, .. } = &self.types;
        [Some(input), weight.as_ref(), Some(output)].into_iter().flatten().any(|dtype| dtype == "f16")
    }

    /// Operations per second.
    pub fn flops_per_second(&self) -> f64 {
        self.flops as f64 / self.seconds()
    }

    /// Bytes per second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds()
    }

    /// The share that is made of the ceiling above it.
    pub fn share_of_ceiling(&self) -> Option<f64> {
        self.bound.map(|bound| bound.least_seconds / self.seconds())
    }

    fn is_rival_of(&self, other: &Self) -> bool {
        (&self.op, &self.shape, self.is_f16()) == (&other.op, &other.shape, other.is_f16())
    }
}

impl Report {
    /// The fastest right form of the same op and shape with weights stored alike: the adapter's own best.
    pub fn best(&self, record: &Record) -> Option<&Record> {
        let rivals = self.records.iter().filter(|other| other.is_rival_of(record) && other.check.is_right);
        rivals.min_by(|a, b| a.seconds().total_cmp(&b.seconds()))
    }

    /// The share of the adapter's own best that a form reaches; none where no form is right.
    pub fn share_of_best(&self, record: &Record) -> Option<f64> {
        Some(self.best(record)?.seconds() / record.seconds())
    }

    /// Records that gave wrong numbers.
    pub fn wrong(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| !record.check.is_right)
    }

    /// Ops and shapes, in the order in which they were measured, each with its forms, the fastest first.
    pub fn groups(&self) -> Vec<Vec<&Record>> {
        let mut groups: Vec<Vec<&Record>> = Vec::new();
        for record in &self.records {
            let same =
                |group: &&mut Vec<&Record>| (&group[0].op, &group[0].shape) == (&record.op, &record.shape);
            match groups.iter_mut().find(same) {
                Some(group) => group.push(record),
                None => groups.push(vec![record]),
            }
        }
        for group in &mut groups {
            group.sort_by(|a, b| a.seconds().total_cmp(&b.seconds()));
        }
        groups
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A form that takes so many seconds.
    pub fn record(op: &str, shape: &str, kernel: &str, seconds: f64) -> Record {
        let spread = |factor: f64| Spread {
            runs: 20,
            median_seconds: factor * seconds,
            p95_seconds: 1.25 * factor * seconds,
            min_seconds: 0.75 * factor * seconds,
        };
        Record {
            op: op.to_owned(),
            shape: shape.to_owned(),
            layer: "a tower".to_owned(),
            source: "a model".to_owned(),
            kernels: vec![kernel.to_owned()],
            configuration: "workgroup, f32".to_owned(),
            origin: None,
            is_default: kernel == "matmul_tile_vec4",
            types: Types {
                input: "f32".to_owned(),
                weight: Some("f32".to_owned()),
                output: "f32".to_owned(),
                accumulator: "f32".to_owned(),
                on_matrix_units: false,
            },
            flops: 2_000_000_000,
            bytes: 10_000_000,
            flops_formula: "2·M·N·K".to_owned(),
            bytes_formula: Some("4·M·K".to_owned()),
            gpu: Some(spread(1.0)),
            wall: spread(1.5),
            check: Check::new(Some(1e-6), 1e-4),
            bound: Some(Bound { least_seconds: 1e-3, by: Limit::Compute }),
        }
    }

    /// A report of these.
    pub fn report(records: Vec<Record>) -> Report {
        Report {
            format: FORMAT.to_owned(),
            engine: Engine { version: "0.1.0".to_owned(), commit: None, kernels: "0123".to_owned() },
            adapter: Adapter {
                name: "A Card".to_owned(),
                driver: "driver".to_owned(),
                driver_info: "1.2".to_owned(),
                backend: "Vulkan".to_owned(),
                kind: "discrete GPU".to_owned(),
                is_software: false,
                has_timestamps: true,
                subgroup_lanes: [32, 32],
            },
            date: "2026-11-26T17:45:00Z".to_owned(),
            seconds_per_form: 0.1,
            ceilings: Some(Ceilings {
                f32_flops: 2e12,
                f16_flops: Some(4e12),
                matrix_flops: None,
                memory: vec![Memory { bytes: 1 << 20, read: 1e12, write: 5e11, copy: 4e11 }],
                workgroup_memory: 1e12,
                dispatch_seconds: 2e-6,
                submit_seconds: 6e-5,
            }),
            records,
            failures: Vec::new(),
            left_out: Vec::new(),
        }
    }

    #[test]
    fn spreads_are_of_the_sorted_runs() {
        let hundred: Vec<_> = (1..=100).rev().map(f64::from).collect();
        let spread = Spread::of(&hundred).unwrap();
        assert_eq!((spread.runs, spread.median_seconds, spread.p95_seconds), (100, 50.5, 95.0));
        assert_eq!(spread.min_seconds, 1.0);
        assert_eq!(Spread::of(&[3.0]).unwrap().p95_seconds, 3.0);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_wrong_form_is_never_the_best_and_is_counted() {
        let mut broken = record("product", "M 4", "matmul_broken", 1e-6);
        broken.check = Check::new(Some(0.5), 1e-4);
        let missing = Record { check: Check::new(None, 1e-4), ..broken.clone() };
        let right = record("product", "M 4", "matmul_tile", 4e-3);
        let default = record("product", "M 4", "matmul_tile_vec4", 5e-3);
        let report = report(vec![broken.clone(), missing, default.clone(), right.clone()]);
        assert_eq!(report.best(&default), Some(&right));
        assert!((report.share_of_best(&default).unwrap() - 0.8).abs() < 1e-9);
        assert_eq!(report.wrong().count(), 2);
        assert!(Check::new(Some(1e-4), 1e-4).is_right && !Check::new(Some(f64::NAN), 1e-4).is_right);
        let groups = report.groups();
        assert_eq!((groups.len(), groups[0].len(), groups[0][0]), (1, 4, &broken));
    }

    #[test]
    fn forms_in_sixteen_bits_have_rivals_of_their_own() {
        let full = record("product", "M 4", "matmul_tile", 4e-3);
        let mut packed = record("product", "M 4", "matmul_tile_packed_f16", 1e-3);
        packed.types.weight = Some("f16".to_owned());
        let report = report(vec![full.clone(), packed]);
        assert_eq!(report.best(&full), Some(&full));
    }
}
