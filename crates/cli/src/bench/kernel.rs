//! What the kernels of a profile took.

use clipseg::{Cost, KernelTime, Peaks};
use serde::Serialize;

use crate::kernels::is_on_matrix_units;

/// What one kernel's runs took together.
#[derive(Serialize)]
pub struct Kernel {
    pub kernel: &'static str,
    pub runs: usize,
    pub seconds: f64,
    /// Of all kernels' time.
    pub share: f64,
    /// Floating-point operations that its runs cannot do without.
    pub flops: u64,
    /// Bytes that its runs have to read and write at least.
    pub bytes: u64,
    pub flops_per_second: f64,
    pub bytes_per_second: f64,
    /// The least that its runs take on the adapter, run by run; none without --roofline.
    pub least_seconds: Option<f64>,
}

impl Kernel {
    /// A profile with all shapes of a kernel together, the longest first.
    pub fn of(times: &[KernelTime], peaks: Option<&Peaks>) -> Vec<Self> {
        let all: f64 = times.iter().map(|time| time.seconds).sum();
        let mut names: Vec<_> = times.iter().map(|time| time.kernel).collect();
        names.sort_unstable();
        names.dedup();
        let together = |kernel| {
            let shapes = || times.iter().filter(move |time| time.kernel == kernel);
            let seconds: f64 = shapes().map(|time| time.seconds).sum();
            let Cost { flops, bytes } =
                shapes().fold(Cost::default(), |sum, time| sum + time.cost * time.runs as u64);
            let least = |time: &KernelTime, peaks: &Peaks| {
                time.runs as f64 * peaks.least_seconds(time.cost, is_on_matrix_units(kernel))
            };
            Self {
                kernel,
                runs: shapes().map(|time| time.runs).sum(),
                seconds,
                share: seconds / all,
                flops,
                bytes,
                flops_per_second: flops as f64 / seconds,
                bytes_per_second: bytes as f64 / seconds,
                least_seconds: peaks.map(|peaks| shapes().map(|time| least(time, peaks)).sum()),
            }
        };
        let mut kernels: Vec<_> = names.into_iter().map(together).collect();
        kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        kernels
    }

    /// Its row of the table of a profile.
    pub fn row(&self) -> [String; 6] {
        [
            self.kernel.to_owned(),
            self.runs.to_string(),
            format!("{:.1} ms", 1e3 * self.seconds),
            format!("{:.1} %", 1e2 * self.share),
            format!("{:.1}", 1e-9 * self.flops_per_second),
            format!("{:.1}", 1e-9 * self.bytes_per_second),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Profile;

    #[test]
    fn shapes_of_a_kernel_are_added_up() {
        let time = |kernel, flops, runs, seconds| KernelTime {
            kernel,
            cost: Cost { flops, bytes: 1_000_000 },
            runs,
            seconds,
            each: Vec::new(),
        };
        let kernels = Kernel::of(
            &[
                time("film", 500, 1, 0.25),
                time("matmul", 1_000_000_000, 2, 0.25),
                time("matmul", 3_000_000_000, 1, 0.5),
            ],
            None,
        );
        let rows: Vec<_> = kernels.iter().map(Kernel::row).collect();
        assert_eq!(rows[0], ["matmul", "3", "750.0 ms", "75.0 %", "6.7", "0.0"]);
        assert_eq!(rows[1], ["film", "1", "250.0 ms", "25.0 %", "0.0", "0.0"]);
        assert_eq!((kernels[0].flops, kernels[0].bytes), (5_000_000_000, 3_000_000));
        assert_eq!(kernels[0].least_seconds, None);
        let share = Profile { kernels, seconds: 1.25 }.outside_share();
        assert!((share - 0.2).abs() < 1e-9, "{share}");
    }
}
