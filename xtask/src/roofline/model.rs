//! The model: a kernel's run takes as long as its operations at the GPU's peak rate, or its bytes at the memory's bandwidth,
//! whichever is longer (Williams, Waterman and Patterson, "Roofline", 2009).

use clipseg::{Cost, KernelTime};

use crate::markdown;

/// A GPU by its maker's numbers.
pub struct Gpu {
    name: &'static str,
    /// Peak rate of f32 arithmetic, a fused multiplication and addition being two operations.
    flops_per_second: f64,
    /// Of its memory.
    bytes_per_second: f64,
}

/// Sources: NVIDIA, "Ada GPU Architecture" whitepaper, appendix A (82.6 TFLOPS, 1008 GB/s); NVIDIA's GeForce RTX 3060 (3584
/// cores at 1.78 GHz boost, two operations each; 192 bits at 15 Gbit/s); Apple's announcement of M2, June 2022 (3.6 TFLOPS,
/// 100 GB/s); Intel ARK, Arc A770 16 GB (32 Xe cores of 128 lanes at 2.1 GHz, two operations each; 560 GB/s); AMD's Radeon RX
/// 7900 XTX (61 TFLOPS with both halves of the dual-issue units, 960 GB/s).
pub const GPUS: [Gpu; 5] = [
    Gpu { name: "RTX 4090", flops_per_second: 82.6e12, bytes_per_second: 1008e9 },
    Gpu { name: "RTX 3060", flops_per_second: 12.7e12, bytes_per_second: 360e9 },
    Gpu { name: "Apple M2", flops_per_second: 3.6e12, bytes_per_second: 100e9 },
    Gpu { name: "Arc A770", flops_per_second: 17.2e12, bytes_per_second: 560e9 },
    Gpu { name: "RX 7900 XTX", flops_per_second: 61.4e12, bytes_per_second: 960e9 },
];

impl Gpu {
    /// The least that one run of this cost takes.
    fn seconds(&self, Cost { flops, bytes }: Cost) -> f64 {
        (flops as f64 / self.flops_per_second).max(bytes as f64 / self.bytes_per_second)
    }
}

/// All runs of a kernel, or of all of them.
#[derive(Debug, Default, PartialEq)]
struct Row {
    kernel: &'static str,
    runs: usize,
    cost: Cost,
    /// On each of [`GPUS`], run by run.
    predicted: [f64; GPUS.len()],
    measured: f64,
}

impl Row {
    fn add(&mut self, time: &KernelTime) {
        self.runs += time.runs;
        self.cost += time.cost * time.runs as u64;
        for (seconds, gpu) in self.predicted.iter_mut().zip(&GPUS) {
            *seconds += time.runs as f64 * gpu.seconds(time.cost);
        }
        self.measured += time.seconds;
    }

    fn cells(&self) -> Vec<String> {
        let Cost { flops, bytes } = self.cost;
        let cells = [
            self.kernel.to_owned(),
            self.runs.to_string(),
            format!("{:.2}", 1e-9 * flops as f64),
            format!("{:.1}", 1e-6 * bytes as f64),
            format!("{:.1}", flops as f64 / bytes as f64),
        ];
        let times = self.predicted.iter().map(|seconds| format!("{:.3}", 1e3 * seconds));
        cells.into_iter().chain(times).chain([format!("{:.1}", 1e3 * self.measured)]).collect()
    }
}

/// Kernels, the longest first, and a last row of all together.
fn rows(times: &[KernelTime]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut total = Row { kernel: "all", ..Row::default() };
    for time in times {
        let known = rows.iter().position(|row| row.kernel == time.kernel);
        let place = known.unwrap_or(rows.len());
        if known.is_none() {
            rows.push(Row { kernel: time.kernel, ..Row::default() });
        }
        rows[place].add(time);
        total.add(time);
    }
    rows.sort_by(|a, b| b.measured.total_cmp(&a.measured));
    rows.push(total);
    rows
}

/// The table; times are in milliseconds.
pub fn to_markdown(times: &[KernelTime]) -> String {
    let names = ["kernel", "runs", "GFLOP", "MB", "FLOP/byte"].into_iter();
    let names = names.chain(GPUS.iter().map(|gpu| gpu.name)).chain(["measured here"]);
    let heading: Vec<_> = names.map(str::to_owned).collect();
    markdown::table(&heading, &rows(times).iter().map(Row::cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: Gpu = Gpu { name: "", flops_per_second: 1e12, bytes_per_second: 1e11 };

    #[test]
    fn the_longer_of_both_counts() {
        // Two milliseconds of arithmetic, one of memory; and the other way round.
        assert_eq!(GPU.seconds(Cost { flops: 2_000_000_000, bytes: 100_000_000 }), 2e-3);
        assert_eq!(GPU.seconds(Cost { flops: 1_000_000_000, bytes: 200_000_000 }), 2e-3);
        assert_eq!(GPU.seconds(Cost::default()), 0.0);
    }

    #[test]
    fn runs_are_judged_one_by_one() {
        let time = |kernel, runs, cost| KernelTime { kernel, runs, cost, seconds: 0.5 };
        // On the first GPU the one is bound by arithmetic, 1 ms, and the other by memory, 2 ms: together 2 · 1 + 2, although
        // either sum would take less.
        let arithmetic = Cost { flops: 82_600_000_000, bytes: 1_008_000 };
        let memory = Cost { flops: 82_600_000, bytes: 2_016_000_000 };
        let rows = rows(&[
            time("matmul", 2, arithmetic),
            time("matmul", 1, memory),
            time("film", 1, Cost { flops: 0, bytes: 1_008_000 }),
        ]);
        let names: Vec<_> = rows.iter().map(|row| (row.kernel, row.runs)).collect();
        assert_eq!(names, [("matmul", 3), ("film", 1), ("all", 4)]);
        assert_eq!(rows[0].cost, arithmetic * 2 + memory);
        assert!((rows[0].predicted[0] - 4e-3).abs() < 1e-9, "{rows:?}");
        assert!((rows[2].predicted[0] - 4.001e-3).abs() < 1e-9, "{rows:?}");
        assert_eq!((rows[0].measured, rows[2].measured), (1.0, 1.5));
    }
}
