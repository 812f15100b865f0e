//! The tables: what the adapter reaches at best, and what each kernel makes of it.

use clipseg::{Cost, KernelTime, Peaks};

use crate::markdown;

/// All runs of a kernel, or of all of them.
#[derive(Debug, Default, PartialEq)]
struct Row {
    kernel: &'static str,
    runs: usize,
    cost: Cost,
    /// The least that these runs take on the adapter, run by run.
    least: f64,
    measured: f64,
}

impl Row {
    fn add(&mut self, time: &KernelTime, peaks: &Peaks) {
        self.runs += time.runs;
        self.cost += time.cost * time.runs as u64;
        self.least += time.runs as f64 * peaks.least_seconds(time.cost, is_on_matrix_units(time.kernel));
        self.measured += time.seconds;
    }

    fn cells(&self) -> Vec<String> {
        let Cost { flops, bytes } = self.cost;
        vec![
            self.kernel.to_owned(),
            self.runs.to_string(),
            format!("{:.2}", 1e-9 * flops as f64),
            format!("{:.1}", 1e-6 * bytes as f64),
            format!("{:.1}", flops as f64 / bytes as f64),
            format!("{:.3}", 1e3 * self.measured),
            format!("{:.1}", 1e-9 * flops as f64 / self.measured),
            format!("{:.1}", 1e-9 * bytes as f64 / self.measured),
            format!("{:.3}", 1e3 * self.least),
            format!("{:.0} %", 1e2 * self.least / self.measured),
        ]
    }
}

fn is_on_matrix_units(kernel: &str) -> bool {
    clipseg_shaders::kernels::ALL.iter().any(|known| known.name == kernel && known.uses_matrix_units)
}

/// Kernels, the longest first, and a last row of all together.
fn rows(times: &[KernelTime], peaks: &Peaks) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut total = Row { kernel: "all", ..Row::default() };
    for time in times {
        let known = rows.iter().position(|row| row.kernel == time.kernel);
        let place = known.unwrap_or(rows.len());
        if known.is_none() {
            rows.push(Row { kernel: time.kernel, ..Row::default() });
        }
        rows[place].add(time, peaks);
        total.add(time, peaks);
    }
    rows.sort_by(|a, b| b.measured.total_cmp(&a.measured));
    rows.push(total);
    rows
}

/// What kernels take, and the share of that which they cannot do without.
pub fn kernels(times: &[KernelTime], peaks: &Peaks) -> String {
    let heading =
        ["kernel", "runs", "GFLOP", "MB", "FLOP/byte", "ms", "GFLOP/s", "GB/s", "least ms", "of the ceiling"];
    let rows: Vec<_> = rows(times, peaks).iter().map(Row::cells).collect();
    markdown::table(&heading.map(str::to_owned), &rows)
}

/// The adapter's ceilings.
pub fn peaks(peaks: &Peaks) -> String {
    let tera = |rate: f64| format!("{:.2} TFLOP/s", 1e-12 * rate);
    let giga = |rate: f64| format!("{:.0} GB/s", 1e-9 * rate);
    let micro = |seconds: f64| format!("{:.1} µs", 1e6 * seconds);
    let mut rows = vec![vec!["f32 arithmetic".to_owned(), tera(peaks.f32_flops)]];
    let others =
        [("f16 arithmetic", peaks.f16_flops), ("matrix units, f16 with sums in f32", peaks.matrix_flops)];
    for (name, rate) in others {
        rows.extend(rate.map(|rate| vec![name.to_owned(), tera(rate)]));
    }
    rows.push(vec!["workgroup memory, read".to_owned(), giga(peaks.workgroup_memory)]);
    for rates in &peaks.memory {
        let size = match rates.bytes >> 20 {
            0 => format!("{} KiB", rates.bytes >> 10),
            mebibytes => format!("{mebibytes} MiB"),
        };
        for (how, rate) in [("read", rates.read), ("written", rates.write), ("copied", rates.copy)] {
            rows.push(vec![format!("{size}, {how}"), giga(rate)]);
        }
    }
    rows.push(vec!["a dispatch that waits for the one before".to_owned(), micro(peaks.dispatch_seconds)]);
    rows.push(vec!["a submission, until the host knows".to_owned(), micro(peaks.submit_seconds)]);
    markdown::table(&["what", "measured"].map(str::to_owned), &rows)
}

#[cfg(test)]
mod tests {
    use clipseg::MemoryRates;

    use super::*;

    fn measured() -> Peaks {
        Peaks {
            f32_flops: 1e12,
            f16_flops: None,
            matrix_flops: Some(1e13),
            memory: vec![MemoryRates { bytes: 1 << 20, read: 1e11, write: 5e10, copy: 5e10 }],
            workgroup_memory: 1e12,
            dispatch_seconds: 2e-6,
            submit_seconds: 1e-5,
        }
    }

    #[test]
    fn runs_are_judged_one_by_one() {
        let time = |kernel, runs, cost| KernelTime { kernel, runs, cost, seconds: 0.5 };
        // The one is bound by arithmetic, 1 ms, and the other by memory, 2 ms: together 2 · 1 + 2, although either sum would take less.
        let arithmetic = Cost { flops: 1_000_000_000, bytes: 1_000_000 };
        let memory = Cost { flops: 1_000_000, bytes: 200_000_000 };
        let times = [
            time("matmul", 2, arithmetic),
            time("matmul", 1, memory),
            time("film", 1, Cost { flops: 0, bytes: 100_000 }),
        ];
        let rows = rows(&times, &measured());
        let names: Vec<_> = rows.iter().map(|row| (row.kernel, row.runs)).collect();
        assert_eq!(names, [("matmul", 3), ("film", 1), ("all", 4)]);
        assert_eq!(rows[0].cost, arithmetic * 2 + memory);
        assert!((rows[0].least - 4e-3).abs() < 1e-9, "{rows:?}");
        assert!((rows[2].least - 4.001e-3).abs() < 1e-9, "{rows:?}");
        assert_eq!((rows[0].measured, rows[2].measured), (1.0, 1.5));
    }

    #[test]
    fn kernels_on_matrix_units_are_held_against_these() {
        let cost = Cost { flops: 10_000_000_000, bytes: 1_000_000 };
        let time = |kernel| KernelTime { kernel, runs: 1, cost, seconds: 0.5 };
        let rows = rows(&[time("matmul_tile"), time("matmul_cooperative_16")], &measured());
        let least: Vec<_> = rows.iter().map(|row| (row.kernel, (1e3 * row.least).round())).collect();
        assert!(
            least.contains(&("matmul_tile", 10.0)) && least.contains(&("matmul_cooperative_16", 1.0)),
            "{least:?}"
        );
    }
}
